"""Changes are found where they are, soon, and hardly ever where there are none; and only what changed is forgotten."""

from collections.abc import Iterator

import numpy as np
import pytest

from learning import state
from learning.drift import PATIENCE, Alarm, Watch
from learning.facts import ArmFacts
from learning.features import encode
from learning.learner import Learner
from learning.observations import Call, Observation
from learning.policies import make
from learning.policies.protocol import Beliefs
from learning.propensities import best_probabilities
from learning.simulation import Drift, World, observations, play
from learning.statistics import Statistics
from learning.targets import Target

X = encode(1000)
QUALITY = (Target.QUALITY,)
TYPES = ("code", "math", "prose", "chat", "plan")


def scores(rng: np.random.Generator, mean: float, steady: bool) -> float:
    """Pass or fail; or, where steady, a graded score with a standard deviation of about 0.15."""
    return float(rng.beta(7.3 * mean, 7.3 * (1 - mean))) if steady else float(rng.random() < mean)


def first_alarm(seed: int, before: float, after: float, *, steady: bool, types: int = 1, at: int = 100) -> tuple[int, Alarm] | None:
    """Labels per type are ``at`` before the change; returns the labels needed after it, over all types."""
    rng, watch, statistics = np.random.default_rng(seed), Watch(), Statistics(24_000.0)
    for step in range(at * types + 500):
        value = scores(rng, before if step < at * types else after, steady)
        observation = Observation(Target.QUALITY, "a/one", TYPES[step % types], X, value, 3 * step + 1)
        alarm = watch.look(statistics, observation)
        if alarm is not None:
            return step + 1 - at * types, alarm
        statistics.add(observation)
    return None


@pytest.mark.parametrize("steady", [False, True], ids=["pass or fail", "graded"])
def test_a_drop_of_one_deviation_is_found_in_less_than_forty_labels(steady: bool) -> None:
    """Measured medians 32 and 28."""
    before, after = (0.75, 0.60) if steady else (0.8, 0.4)
    found = [first_alarm(seed, before, after, steady=steady) for seed in range(40)]
    delay = [999 if f is None else f[0] for f in found]
    assert np.median(delay) < 40
    assert min(delay) > 0
    since = [(f[1].since - 1) // 3 - 100 for f in found if f is not None]
    assert abs(np.median(since)) < 5, "and the estimate of its time is right"


def test_a_small_drop_on_every_type_is_found_for_the_model_as_a_whole() -> None:
    """Half a deviation on five types, 100 labels each before: fewer labels in all than five single types would take."""
    found = [first_alarm(seed, 0.8, 0.6, steady=False, types=5) for seed in range(15)]
    assert np.median([999 if f is None else f[0] for f in found]) < 150
    assert [f[1].task_type for f in found if f is not None].count(None) > 10


@pytest.mark.parametrize("seed", range(3))
def test_a_steady_world_raises_no_alarm(seed: int) -> None:
    """1,500 calls of 10 models on 5 types, each with 3 watched targets: none; one in 500 labels would be too many."""
    world = World.draw(np.random.default_rng(seed), 10, 5, concentration=[None, 8.0, 30.0][seed])
    rng, watch, statistics = np.random.default_rng(seed), Watch(), Statistics(24_000.0)
    for step in range(1_500):
        model, task_type = world.models[rng.integers(3)], world.task_types[rng.integers(5)]
        for item in observations(world.call(rng, model, task_type, step), model, task_type, 3 * step + 1, X):
            if isinstance(item, Observation):
                assert watch.look(statistics, item) is None
                statistics.add(item)


@pytest.mark.parametrize("draw", ["heavy", "skewed", "two lengths"])
def test_odd_shapes_of_latency_are_not_taken_for_changes(draw: str) -> None:
    rng, watch, statistics = np.random.default_rng(5), Watch(), Statistics(24_000.0)
    shapes = {
        "heavy": lambda: 0.4 * rng.standard_t(3),
        "skewed": lambda: rng.exponential(1.0),
        "two lengths": lambda: float(rng.random() < 0.1) * 5.0 + 0.1 * rng.normal(),
    }
    for step in range(6_000):
        observation = Observation(Target.LATENCY, "a/one", TYPES[step % 2], X, shapes[draw](), 3 * step + 1)
        assert watch.look(statistics, observation) is None
        statistics.add(observation)


def test_a_changed_mix_of_lengths_is_no_change_of_the_model() -> None:
    """Contexts become eight times as long; answers take longer for that reason alone."""
    rng, watch, statistics = np.random.default_rng(6), Watch(), Statistics(24_000.0)
    for step in range(600):
        x = encode(int(np.exp(rng.normal(6.9 if step < 400 else 7.9, 0.6))))
        observation = Observation(Target.LATENCY, "a/one", "code", x, 1.0 + 0.5 * x[1] + 0.2 * rng.normal(), 3 * step + 1)
        assert watch.look(statistics, observation) is None
        statistics.add(observation)


def test_less_regret_after_a_drop_than_without_detection() -> None:
    """The best model of most types loses 0.3: at most 0.6 of the regret (measured 0.45 over ten worlds), and none more before it."""
    regret = np.zeros((2, 2))
    for seed in (0, 2, 3):
        world = World.draw(np.random.default_rng(seed), 10, 5)
        best = int(np.bincount(world.base_quality.argmax(axis=0), minlength=10).argmax())
        world = world.with_drift(Drift(800, world.models[best], quality=-0.3))
        for row, watch in enumerate((Watch(), Watch({}))):
            made = play(world, make("thompson"), 1_700, np.random.default_rng(100 + seed), learner=Learner(watch=watch), targets=QUALITY)
            regret[row] += made.regret[:800].sum(), made.regret[800:].sum()
    assert regret[0, 1] < 0.6 * regret[1, 1]
    assert regret[0, 0] <= 1.02 * regret[1, 0]


def stream(seed: int, n: int, change: int) -> Iterator[Observation]:
    """Two models on two types; the first one's scores on code fall at ``change``."""
    rng = np.random.default_rng(seed)
    for step in range(n):
        model, task_type = ("a/one", "b/two")[step % 2], ("code", "math")[step // 2 % 2]
        fallen = step >= change and (model, task_type) == ("a/one", "code")
        yield Observation(Target.QUALITY, model, task_type, X, float(rng.random() < (0.2 if fallen else 0.9)), 3 * step + 1)


def fold(learner: Learner, items: Iterator[Observation]) -> Learner:
    for item in items:
        learner.fold(item)
    return learner


@pytest.fixture(scope="module")
def changed() -> Learner:
    return fold(Learner(), stream(1, 600, 400))


def test_an_incident_says_what_changed_and_when(changed: Learner) -> None:
    (incident,) = changed.incidents
    assert (incident.model, incident.task_type, incident.target, incident.rose) == ("a/one", "code", Target.QUALITY, False)
    assert 1_190 < incident.since < 1_300, "the change came at log position 1,201"
    assert incident.since < incident.opened < 1_201 + 3 * 4 * 25
    assert incident.log10_e >= 4.4
    assert incident.before.low <= 0.9 <= incident.before.high
    assert incident.after.low <= 0.2 <= incident.after.high + 0.05, "read at the moment it was most striking"
    assert incident.closed is None


def test_only_what_changed_is_forgotten(changed: Learner) -> None:
    def weight(learner: Learner, model: str, task_type: str) -> float:
        s = learner.statistics
        m, t = s.find_model(model), s.find_task(task_type)
        assert m is not None
        assert t is not None
        cell = s.find_cell(m, t)
        assert cell is not None
        return float(s.gram[Target.QUALITY, cell, 0, 0])

    blind = fold(Learner(watch=Watch({})), stream(1, 600, 400))
    assert weight(changed, "a/one", "code") < 0.5 * weight(blind, "a/one", "code")
    for place in (("a/one", "math"), ("b/two", "code"), ("b/two", "math")):
        assert weight(changed, *place) == weight(blind, *place)


def test_the_model_is_explored_there_until_the_incident_closes(changed: Learner) -> None:
    learner = state.load(state.save(changed), {})
    posterior = learner.posterior()
    place = posterior.model_index["a/one"], posterior.task("code")
    assert posterior.eager[place] > 0
    assert posterior.eager.sum() == posterior.eager[place]
    (incident,) = learner.incidents
    learner.fold(Observation(Target.QUALITY, "b/two", "math", X, 1.0, incident.last + PATIENCE))
    assert learner.posterior().eager.sum() == 0
    assert learner.incidents[0].closed == incident.last + PATIENCE


@pytest.mark.parametrize("cut", [300, 417, 430, 600])
def test_a_restored_watch_goes_on_as_if_nothing_had_happened(cut: int) -> None:
    """Saved before, in and after the alarm: the same incidents, digest and bytes."""
    items = list(stream(1, 900, 400))
    straight, halted = fold(Learner(), iter(items)), fold(Learner(), iter(items[:cut]))
    blob = state.save(halted)
    assert state.save(state.load(blob, {})) == blob
    resumed = fold(state.load(blob, {}), iter(items[cut:]))
    assert resumed.digest() == straight.digest()
    assert state.save(resumed) == state.save(straight)


def test_the_digest_tells_watches_apart() -> None:
    one, other = (fold(Learner(watch=watch), stream(1, 300, 400)) for watch in (Watch(), Watch({})))
    assert one.statistics.digest() == other.statistics.digest()
    assert one.digest() != other.digest()


def test_corrections_and_retractions_are_no_news() -> None:
    """Scores that are taken back and given anew, all of them zeros, move the estimate and raise no alarm."""
    learner = fold(Learner(), stream(1, 400, 400))
    for step, item in enumerate(stream(1, 400, 400)):
        if (item.model, item.task_type) == ("a/one", "code") and step > 300:
            learner.fold(Observation(item.target, item.model, item.task_type, X, item.value, item.clock, -1.0, correction=True))
            learner.fold(Observation(item.target, item.model, item.task_type, X, 0.0, item.clock, correction=True))
    assert learner.incidents == []


def test_what_is_taken_back_after_a_cut_leaves_what_was_never_there() -> None:
    """A score from before the change weighs its share, whether it came in time or late, and taking it back is exact."""
    late = Observation(Target.QUALITY, "a/one", "code", X, 0.0, 40)
    kept = [Observation(Target.QUALITY, "a/one", "code", X, 1.0, clock) for clock in range(50, 90)]

    def cut(extra: bool) -> Statistics:
        statistics = Statistics(24_000.0)
        for item in [*([late] if extra else []), *kept]:
            statistics.add(item)
        statistics.cut(Target.QUALITY, 0, 80, 0.1, [k for k in kept if k.clock >= 80])
        return statistics

    never, taken_back, came_late = cut(False), cut(True), cut(False)
    taken_back.add(Observation(Target.QUALITY, "a/one", "code", X, 0.0, 40, -1.0))
    came_late.add(late)
    for one, other in ((never, taken_back), (came_late, cut(True))):
        np.testing.assert_allclose(one.gram, other.gram, atol=1e-12)
        np.testing.assert_allclose(one.moment, other.moment, atol=1e-12)


def test_a_second_alarm_of_an_open_incident_updates_it() -> None:
    learner, rng = Learner(), np.random.default_rng(3)
    for step in range(500):
        mean = 0.95 if step < 200 else 0.5 if step < 320 else 0.02
        learner.fold(Observation(Target.QUALITY, "a/one", "code", X, float(rng.random() < mean), 3 * step + 1))
    (incident,) = learner.incidents
    assert incident.alarms >= 2
    assert incident.last > incident.opened
    assert incident.after.mean < 0.3


def test_a_model_that_joins_experience_is_explored_more_until_it_has_labels() -> None:
    learner = fold(Learner(), stream(1, 250, 999))
    learner.register({"c/new": ArmFacts()})
    for n in (0, 20, 59):
        while (have := sum(learner.posterior().scores(t)[learner.posterior().model_index["c/new"]] for t in (0, 1))) < n:
            learner.fold(Observation(Target.QUALITY, "c/new", "code", X, 1.0, 800 + int(have)))
        posterior = learner.posterior()
        assert posterior.eager[posterior.model_index["c/new"]] == pytest.approx(20 / (20 + n))
        assert (posterior.eager[posterior.model_index["a/one"]] == 0).all()
    restored = state.load(state.save(learner), {"c/new": ArmFacts()}).posterior()
    np.testing.assert_array_equal(restored.eager, learner.posterior().eager)
    learner.fold(Observation(Target.QUALITY, "c/new", "code", X, 1.0, 900))
    assert learner.posterior().eager.sum() == 0


def test_models_that_start_together_are_no_newcomers() -> None:
    learner = Learner()
    learner.register({"a/one": ArmFacts(), "b/two": ArmFacts(), "c/three": ArmFacts()})
    assert fold(learner, stream(1, 300, 999)).posterior().eager.sum() == 0


def test_a_fully_eager_model_is_drawn_by_its_untempered_belief() -> None:
    mean, sd = np.array([0.8, 0.7, 0.6]), np.array([0.05, 0.2, 0.1])
    p = make("thompson", floor=0.0).propensities(Beliefs(("a/a", "b/b", "c/c"), mean, sd, np.array([1.0, 1.0, 1.0])))
    np.testing.assert_allclose(p, best_probabilities(mean, sd), atol=1e-12)
    calm = make("thompson", floor=0.0).propensities(Beliefs(("a/a", "b/b", "c/c"), mean, sd))
    one = make("thompson", floor=0.0).propensities(Beliefs(("a/a", "b/b", "c/c"), mean, sd, np.array([0.0, 1.0, 0.0])))
    assert one[1] > calm[1]


def test_where_few_calls_are_scored_exploring_is_narrower() -> None:
    """Of a share of 1 in 16 the fourth root, once the 20 calls of the beginning no longer count; never below a half."""
    learner = Learner(half_life=1e12)
    learner.register({"a/one": ArmFacts(), "b/two": ArmFacts()})
    assert (learner.posterior().eager == 0).all(), "nothing is known of the share"
    for clock in range(16_000):
        model = ("a/one", "b/two")[clock % 2]
        learner.fold_call(Call(model, clock % 5 == 0, clock))
        if clock % 16 < 1:
            learner.fold(Observation(Target.QUALITY, model, "code", X, 0.5, clock))
    np.testing.assert_allclose(learner.posterior().eager, ((1_000 + 20) / (16_000 + 20)) ** 0.25 - 1.0, rtol=1e-9)
    for clock in range(16_000, 50_000):
        learner.fold_call(Call("a/one", False, clock))
    assert (learner.posterior().eager == -0.5).all()


def test_scores_of_calls_that_nobody_told_of_leave_exploring_as_it_is() -> None:
    learner = Learner()
    learner.register({"a/one": ArmFacts(), "b/two": ArmFacts()})
    assert (fold(learner, stream(1, 300, 999)).posterior().eager == 0).all()


def test_a_belief_that_is_explored_less_is_drawn_less() -> None:
    mean, sd, names = np.array([0.8, 0.7, 0.6]), np.array([0.05, 0.2, 0.1]), ("a/a", "b/b", "c/c")
    thompson = make("thompson", floor=0.0)
    calm, thrifty = (thompson.propensities(Beliefs(names, mean, sd, eager)) for eager in (0.0, -0.5))
    kappa = 1.0 / np.sqrt(2.0 * np.log(3.0))
    np.testing.assert_allclose(thrifty, best_probabilities(mean, 0.5 * kappa * sd), atol=1e-12)
    assert (thrifty[1:] < calm[1:]).all()

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.catalog import load_shipped
from router.domain.eligibility import MIN_QUALITY_CONFIDENCE, FloatArray, Forecast, Limited, Screen, screen, usd, within_limits
from router.domain.models import Capability, Modality, Model
from router.domain.tasks import Constraints, Speed, Task

SHIPPED = load_shipped()
TEXT = frozenset({Modality.TEXT})


def model(model_id: str = "acme/one", window: int = 8_192, **facts: object) -> Model:
    provider, _, name = model_id.partition("/")
    return Model(model_id, provider, name, "family", window, **facts)  # type: ignore[arg-type]


def task(context: int = 100, **facts: object) -> Task:
    return Task("quick_qa", context, **facts)  # type: ignore[arg-type]


def only_reason(candidate: Model, wanted: Task) -> tuple[str, str]:
    eligible, (exclusion,) = screen([candidate], wanted)
    assert not eligible
    return exclusion.code, exclusion.reason


class TestScreen:
    @pytest.mark.parametrize(
        ("candidate", "wanted", "code", "words"),
        [
            (model(retired=True), task(), "retired", "retired"),
            (model(), task(constraints=Constraints(models=frozenset({"acme/two"}))), "not_allowed", "not among the models"),
            (model(), task(constraints=Constraints(exclude=frozenset({"acme/one"}))), "excluded", "exclude list"),
            (model(), task(constraints=Constraints(providers=frozenset({"other"}))), "provider_not_allowed", "acme is not among"),
            (model(), task(modalities=TEXT | {Modality.IMAGE}), "modality", "needs image input; acme/one reads text"),
            (
                model(capabilities=frozenset({Capability.STREAMING})),
                task(needs=frozenset({Capability.TOOLS, Capability.JSON})),
                "capability",
                "needs json and tools; acme/one offers streaming",
            ),
            (model(), task(needs=frozenset({Capability.TOOLS})), "capability", "offers none of the kind"),
            (
                model(),
                task(40_000, expected_output_tokens=960),
                "context_window",
                "needs 40,960 tokens (40,000 in and 960 out); the window is 8,192",
            ),
            (model(), task(8_000, max_output_tokens=500, expected_output_tokens=10), "context_window", "needs 8,500 tokens"),
            (
                model(max_output_tokens=1_024),
                task(max_output_tokens=2_048),
                "context_window",
                "needs 2,048 output tokens; the model writes at most 1,024",
            ),
        ],
    )
    def test_each_limit_excludes_with_its_code_and_its_numbers(self, candidate: Model, wanted: Task, code: str, words: str) -> None:
        found, reason = only_reason(candidate, wanted)
        assert found == code
        assert words in reason

    def test_a_prompt_as_long_as_the_window_leaves_no_room_for_an_answer(self) -> None:
        assert only_reason(model(), task(8_192))[0] == "context_window"
        assert not screen([model()], task(8_191))[1]

    def test_results_are_aligned_and_ordered(self) -> None:
        screened = Screen(SHIPPED).apply(task(20_000, needs=frozenset({Capability.TOOLS})))
        assert [item.id for item in screened.models] == list(screened.ids) == sorted(screened.ids)
        assert [SHIPPED.models[i].id for i in screened.index] == list(screened.ids)
        assert set(screened.ids) | {exclusion.model for exclusion in screened.excluded} == {item.id for item in SHIPPED}
        assert len(screened.ids) + len(screened.excluded) == len(SHIPPED)

    def test_no_models_is_a_result_and_not_an_error(self) -> None:
        assert Screen(()).apply(task()).ids == ()
        screened = Screen((model(),)).apply(task(constraints=Constraints(models=frozenset())))
        assert screened.ids == ()
        assert screened.index.shape == (0,)

    def test_what_is_remembered_is_bounded(self) -> None:
        kept = Screen((model(),))
        for i in range(2_000):
            kept.apply(task(constraints=Constraints(exclude=frozenset({f"acme/{i}"}))))
        assert len(kept._groups) <= 512

    def test_the_memory_of_earlier_requests_changes_no_result(self) -> None:
        warm = Screen(SHIPPED)
        wanted = [
            task(context, needs=needs, max_output_tokens=out)
            for context in (10, 5_000, 150_000)
            for out in (None, 9_000)
            for needs in NEEDS
        ]
        first = [warm.apply(item) for item in wanted]
        for item, before in zip(wanted, first, strict=True):
            fresh = Screen(SHIPPED).apply(item)
            for result in (before, warm.apply(item)):
                assert result.ids == fresh.ids
                assert result.excluded == fresh.excluded


NEEDS = (frozenset[Capability](), frozenset({Capability.TOOLS}), frozenset({Capability.TOOLS, Capability.JSON}))

names = st.integers(0, 9).map(lambda i: f"{'ab'[i % 2]}/m{i}")
some_names = st.frozensets(names, max_size=6)
modality_sets = st.frozensets(st.sampled_from(list(Modality)), max_size=3).map(lambda kinds: kinds | TEXT)
capability_sets = st.frozensets(st.sampled_from(list(Capability)), max_size=3)
sizes = st.integers(1, 300_000)


@st.composite
def models(draw: st.DrawFn) -> Model:
    window = draw(sizes)
    return model(
        draw(names),
        window,
        max_output_tokens=draw(st.none() | st.integers(1, window)),
        modalities=draw(modality_sets),
        capabilities=draw(capability_sets),
        retired=draw(st.booleans()),
    )


catalogues = st.lists(models(), max_size=10, unique_by=lambda item: item.id)
constraints = st.builds(
    Constraints,
    max_cost_usd=st.none() | st.floats(0, 1),
    max_latency_s=st.none() | st.floats(0, 40),
    min_quality=st.none() | st.floats(0, 1),
    models=st.none() | some_names,
    exclude=some_names,
    providers=st.none() | st.frozensets(st.sampled_from(["a", "b"])),
)
tasks = st.builds(
    Task,
    st.just("quick_qa"),
    st.integers(0, 300_000),
    expected_output_tokens=st.none() | st.integers(0, 20_000),
    max_output_tokens=st.none() | st.integers(1, 20_000),
    needs=capability_sets,
    modalities=modality_sets,
    speed=st.none() | st.sampled_from(Speed),
    constraints=constraints,
)


@settings(deadline=None, max_examples=300)
@given(catalogues, tasks)
def test_no_capability_limit_is_ever_broken_and_nobody_is_left_out_for_nothing(catalogue: list[Model], wanted: Task) -> None:
    eligible, excluded = screen(catalogue, wanted)
    limits = wanted.constraints
    output = wanted.max_output_tokens if wanted.max_output_tokens is not None else wanted.expected_output_tokens or 0
    able = {
        item.id
        for item in catalogue
        if not item.retired
        and (limits.models is None or item.id in limits.models)
        and item.id not in limits.exclude
        and (limits.providers is None or item.provider in limits.providers)
        and wanted.modalities <= item.modalities
        and wanted.needs <= item.capabilities
        and wanted.context_tokens + max(output, 1) <= item.context_window
        and output <= (item.max_output_tokens or item.context_window)
    }
    assert [item.id for item in eligible] == [item.id for item in catalogue if item.id in able]
    assert {exclusion.model for exclusion in excluded} == {item.id for item in catalogue} - able
    assert all(exclusion.reason for exclusion in excluded)


def unknown_or(amounts: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    return st.just(float("nan")) | amounts


@st.composite
def forecasts(draw: st.DrawFn) -> tuple[list[Model], Forecast]:
    n = draw(st.integers(0, 8))

    def column(amounts: st.SearchStrategy[float]) -> FloatArray:
        return np.array(draw(st.lists(unknown_or(amounts), min_size=n, max_size=n)), dtype=np.float64)

    share = st.floats(0, 1)
    forecast = Forecast(column(st.floats(0, 2)), column(st.floats(0, 2)), column(st.floats(0, 60)), column(share), column(share))
    return [model(f"acme/m{i}") for i in range(n)], forecast


@settings(deadline=None, max_examples=400)
@given(forecasts(), tasks)
def test_no_learned_limit_is_ever_broken_unless_it_is_named_as_relaxed(drawn: tuple[list[Model], Forecast], wanted: Task) -> None:
    candidates, forecast = drawn
    result = within_limits(candidates, wanted, forecast)
    limits, kept = wanted.constraints, result.keep
    assert sorted(kept.tolist()) == kept.tolist()
    assert {candidates[i].id for i in kept} | {exclusion.model for exclusion in result.excluded} == {item.id for item in candidates}
    assert len(kept) + len(result.excluded) == len(candidates)
    if limits.max_cost_usd is not None:
        cost = np.fmax(forecast.cost_usd, forecast.cost_p95_usd)
        assert (cost[kept] <= limits.max_cost_usd).all()
        unpriced = {candidates[i].id for i in np.flatnonzero(np.isnan(cost))}
        assert {exclusion.model for exclusion in result.excluded if exclusion.code == "price_unknown"} == unpriced
    stated = [limit for limit in (limits.max_latency_s, wanted.speed.limit_s if wanted.speed else None) if limit is not None]
    if stated and "latency" not in result.relaxed:
        assert (forecast.latency_p95_s[kept] <= min(stated)).all()
    if limits.min_quality is not None and "quality" not in result.relaxed:
        if "quality_confidence" in result.relaxed:
            assert (forecast.quality[kept] >= limits.min_quality).all()
        else:
            assert (forecast.quality_confidence[kept] >= MIN_QUALITY_CONFIDENCE).all()
    assert "quality" not in result.relaxed or "quality_confidence" in result.relaxed
    assert len(kept) > 0 or limits.max_cost_usd is not None or not candidates


class TestLimits:
    candidates = tuple(model(f"acme/{name}") for name in ("cheap", "good", "slow"))

    def limited(
        self, quality: list[float] | None = None, sure: list[float] | None = None, speed: Speed | None = None, **limits: float
    ) -> Limited:
        forecast = Forecast(
            cost_usd=np.array([0.001, 0.01, 0.02]),
            cost_p95_usd=np.array([0.002, 0.02, 0.04]),
            latency_p95_s=np.array([0.4, 3.0, 25.0]),
            quality=np.array(quality or [0.5, 0.8, 0.9]),
            quality_confidence=np.array(sure or [0.1, 0.7, 0.95]),
        )
        return within_limits(self.candidates, task(speed=speed, constraints=Constraints(**limits)), forecast)  # type: ignore[arg-type]

    def test_without_limits_everything_stays(self) -> None:
        result = self.limited()
        assert result.keep.tolist() == [0, 1, 2]
        assert result.excluded == ()
        assert result.relaxed == ()

    def test_cost_is_judged_by_its_95th_percentile(self) -> None:
        result = self.limited(max_cost_usd=0.015)
        assert result.keep.tolist() == [0]
        assert [(item.model, item.code) for item in result.excluded] == [("acme/good", "max_cost"), ("acme/slow", "max_cost")]
        assert result.excluded[0].reason == "may cost $0.02 (95th percentile); the limit is $0.015"

    def test_nothing_affordable_is_never_relaxed(self) -> None:
        result = self.limited(max_cost_usd=0.0001)
        assert result.keep.size == 0
        assert result.relaxed == ()

    def test_an_unknown_price_only_matters_under_a_cost_limit(self) -> None:
        unknown = np.full(3, np.nan)
        forecast = Forecast(unknown, unknown, np.ones(3), np.ones(3), np.ones(3))
        assert within_limits(self.candidates, task(), forecast).keep.size == 3
        result = within_limits(self.candidates, task(constraints=Constraints(max_cost_usd=1.0)), forecast)
        assert {item.code for item in result.excluded} == {"price_unknown"}

    def test_the_stricter_of_latency_limit_and_speed_holds(self) -> None:
        assert self.limited(speed=Speed.BALANCED).keep.tolist() == [0, 1]
        assert self.limited(speed=Speed.BALANCED, max_latency_s=1.0).keep.tolist() == [0]
        result = self.limited(speed=Speed.ULTRA_FAST, max_latency_s=30.0)
        assert result.keep.tolist() == [0]
        assert result.excluded[0].reason == "may take 3 s (95th percentile); the limit is 0.5 s"

    def test_quality_is_held_with_confidence_then_on_average_then_given_up(self) -> None:
        assert self.limited(min_quality=0.7).keep.tolist() == [2]
        expected = self.limited(min_quality=0.7, sure=[0.1, 0.7, 0.6])
        assert (expected.keep.tolist(), expected.relaxed) == ([1, 2], ("quality_confidence",))
        nothing = self.limited(min_quality=0.95, sure=[0.0, 0.0, 0.1])
        assert (nothing.keep.tolist(), nothing.relaxed) == ([0, 1, 2], ("quality_confidence", "quality"))
        assert nothing.excluded == ()

    def test_latency_is_given_up_last_and_quality_is_then_held_again(self) -> None:
        result = self.limited(max_latency_s=0.1, min_quality=0.7)
        assert (result.keep.tolist(), result.relaxed) == ([2], ("latency",))
        assert {item.code for item in result.excluded} == {"min_quality"}

    def test_a_quality_reason_gives_the_numbers(self) -> None:
        reasons = [item.reason for item in self.limited(min_quality=0.7).excluded]
        assert reasons[1] == "quality 0.80 is expected and 0.70 is reached with probability 70%; 80% is required"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0"),
        (0.000012345, "$0.0000123"),
        (0.0001, "$0.0001"),
        (0.00123, "$0.00123"),
        (0.02, "$0.02"),
        (12.0, "$12"),
        (1234.5, "$1230"),
    ],
)
def test_money_is_written_without_exponents(amount: float, text: str) -> None:
    assert usd(amount) == text

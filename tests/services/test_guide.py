"""The guide and the rules: every figure comes from rows of the log."""

import math
import random
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from router.domain.battery_report import score_of
from router.domain.catalog import load_shipped
from router.domain.events import CostChange, FeedbackChange
from router.domain.guide import Guide, State
from router.domain.guide_picture import picture
from router.domain.guide_text import markdown
from router.domain.measured import Measure, of_scores, of_values
from router.domain.pins import digest_of
from router.domain.rulebook import compare, difference, pinned, pins_of, ratio, rulebook
from router.errors import ConfigurationInvalid
from router.storage.memory import MemoryStore
from router.storage.rule_files import read_rules, rules_text
from tests.services.evidence import learned, play

GEMINI, LLAMA = "google/gemini-2.0-flash", "cerebras/llama3.1-70b"
PHI, WIZARD = "deepinfra/microsoft/phi-2", "replicate/wizardmath-70b-v1.0"


def near(measure: Measure) -> Measure:
    return Measure(measure.n, *(pytest.approx(value) for value in (measure.mean, measure.low, measure.high)))


def drawn(rate: float, n: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [float(rng.random() < rate) for _ in range(n)]


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.announce([model.id for model in load_shipped().models], 0.0)
    play(made, "classification", GEMINI, drawn(0.95, 40, 1), usd=0.0001, seconds=0.5)
    play(made, "classification", LLAMA, drawn(0.7, 40, 2), usd=0.0006)
    play(made, "classification", PHI, drawn(0.4, 25, 3), usd=None)
    play(made, "math_reasoning", LLAMA, drawn(0.8, 20, 4), usd=0.0006)
    play(made, "math_reasoning", WIZARD, [1.0, 0.0, 1.0], usd=None)
    return made


async def made(store: MemoryStore) -> Guide:
    async with learned(store, load_shipped()) as service:
        return await service.guide()


async def test_cells_are_measured_inferred_unknown_or_skipped(store):
    guide = await made(store)
    tasks = {task.task_type: {cell.model: cell for cell in task.cells} for task in guide.task_types}
    assert tasks["classification"][PHI].state is State.MEASURED
    assert tasks["classification"][PHI].cost_usd is None  # unknown, and not 0
    assert tasks["classification"][WIZARD].state is State.SKIPPED
    assert tasks["math_reasoning"][GEMINI].state is State.INFERRED
    assert tasks["math_reasoning"][WIZARD].state is State.INFERRED  # three scores are no measurement
    assert tasks["math_reasoning"]["openai/gpt-4"].state is State.UNKNOWN
    classification = guide.task_types[0]
    assert (classification.recommended, classification.best_quality, classification.fastest) == (GEMINI, GEMINI, GEMINI)
    assert [cell.model for cell in classification.cells if cell.state is State.MEASURED] == [GEMINI, LLAMA, PHI]
    assert guide.scores == 128


async def test_every_measured_figure_can_be_worked_out_from_the_rows_that_its_query_lists(store):
    play(store, "classification", GEMINI, [0.0] * 5, name="later")
    store.commit([FeedbackChange(f"fb_dec_later_classification_{GEMINI.replace('/', '_')}_0", 1.0, 2_000.0)])
    store.commit([FeedbackChange(f"fb_dec_later_classification_{GEMINI.replace('/', '_')}_1", None, 2_000.0)])
    store.commit([CostChange(f"dec_a_classification_{LLAMA.replace('/', '_')}_0", 0.01, 2_000.0)])
    guide = await made(store)
    checked = 0
    for task in guide.task_types:
        for cell in task.cells:
            if cell.state is not State.MEASURED:
                continue
            asked = dict(part.split("=", 1) for part in cell.evidence.query.partition("?")[2].split("&"))
            rows = store.decisions(before_seq=int(asked["before_seq"]), limit=1_000, task_type=asked["task_type"], model=asked["model"])
            scores = [s for row in rows if (s := score_of(row)) is not None]
            assert cell.quality == near(of_scores(sum(scores), len(scores), len(scores)))
            costs = [row.outcome.cost_usd for row in rows]
            assert cell.cost_usd == (None if None in costs else near(of_values(costs)))
            assert cell.latency_s == near(of_values([row.outcome.latency_s for row in rows]))
            assert cell.tokens_per_s == pytest.approx(
                sum(row.outcome.output_tokens for row in rows) / sum(row.outcome.latency_s for row in rows)
            )
            assert {row.decision.id for row in rows} >= set(cell.evidence.decision_ids)
            assert (cell.evidence.first_seq, cell.evidence.last_seq) == (rows[-1].seq, rows[0].seq)
            checked += 1
    assert checked == 4


async def test_the_guide_follows_the_log(store):
    async with learned(store, load_shipped()) as service:
        before = await service.guide()
        play(store, "sentiment", LLAMA, [1.0] * 6)
        after = await service.guide()
    assert after.seq == before.seq + 18
    assert after.scores == before.scores + 6


async def test_the_next_test_is_one_that_may_change_the_choice(store):
    guide = await made(store)
    assert guide.next_tests
    assert all(test.gain > 0 for test in guide.next_tests)
    assert [test.gain for test in guide.next_tests] == sorted((test.gain for test in guide.next_tests), reverse=True)
    assert max(sum(t.task_type == task.task_type for t in guide.next_tests) for task in guide.task_types) <= 3
    states = {(task.task_type, cell.model): cell.state for task in guide.task_types for cell in task.cells}
    assert all(states[test.task_type, test.model] is test.state is not State.SKIPPED for test in guide.next_tests)


async def test_the_text_reads_like_a_guide_and_the_picture_is_one(store):
    guide = await made(store)
    text = markdown(guide, 1_700_000_000.0, {"classification": "files/classification.svg"})
    assert text.startswith("# Model selection guide\n\nMade 2023-11-14 22:13 UTC from 128 scored answers on 2 task types")
    page = text[text.index("## classification") : text.index("## math_reasoning")]
    assert page.startswith(f"## classification\n\n**{GEMINI}** (")
    assert "![classification: cost against quality](files/classification.svg)" in page
    assert len(page.splitlines()) < 60  # a page
    assert re.search(r"\| 3 \| deepinfra/microsoft/phi-2 \| 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] \| unknown \|", page)
    svg = picture(guide.task_types[0])
    drawing = ElementTree.fromstring(svg)
    assert len(drawing.findall(".//{*}circle")) == 2  # the cost of the third is unknown
    assert picture(guide.task_types[1]) is None
    assert "Nothing has been scored yet" in markdown(replace(guide, task_types=(), scores=0), 0.0, {})


async def test_rules_survive_the_file_and_a_pin_is_as_good_as_its_hash(store, tmp_path):
    catalog = load_shipped()
    book = rulebook(await made(store))
    rule = book["rules"]["classification"]
    assert rule["primary"] == GEMINI
    assert rule["sample_size"] == 40
    assert [one["model"] for one in rule["alternatives"]] == [LLAMA, PHI]
    beside = rule["relative_to_baseline"]
    assert beside["baseline"] == LLAMA  # the dearest whose cost is known
    assert beside["quality_difference"]["low"] < rule["quality"]["mean"] - rule["alternatives"][0]["quality"]["mean"]
    assert beside["cost_ratio"]["mean"] == pytest.approx(1 / 6, rel=0.05)
    assert beside["speed_ratio"]["mean"] == pytest.approx(2.5 / 1.0, rel=0.05)
    assert rule["flips_if"]
    assert len(rule["evidence"]["decision_ids"]) == 20
    file = tmp_path / "rules.yaml"
    file.write_text(rules_text(pinned(book, ["classification"], catalog), "Pinned."))
    read = read_rules(file)
    (pin,) = pins_of(read).values()
    assert pin.models == (GEMINI, LLAMA, PHI)
    assert pin.digest == digest_of({"classification": rule})
    assert compare(read, book) == []
    read["rules"]["classification"]["primary"] = LLAMA
    with pytest.raises(ConfigurationInvalid, match="changed after"):
        pins_of(read)


async def test_a_diff_says_what_is_learned_differently(store):
    then = rulebook(await made(store))
    play(store, "classification", GEMINI, [0.0] * 200, name="fallen")
    play(store, "sentiment", LLAMA, [1.0] * 6)
    now = rulebook(await made(store))
    found = {change.task_type: change for change in compare(then, now)}
    assert (found["classification"].kind, found["classification"].was) == ("primary", GEMINI)
    assert found["classification"].now.startswith(LLAMA)
    assert found["sentiment"].kind == "new"
    assert {change.kind for change in compare(now, then)} == {"primary", "gone"}


@pytest.mark.parametrize(
    ("book", "field"),
    [
        ("text", "rules"),
        ({"format": 2, "rules": {}}, "rules"),
        ({"format": 1, "rules": {"a": {}}}, "rules.a"),
        ({"format": 1, "rules": {"a": {"primary": "x/y", "alternatives": [3]}}}, "rules.a"),
        ({"format": 1, "rules": {"a": {"primary": "x/y"}}}, "rules.a"),
        ({"format": 1, "rules": {"b": {"primary": GEMINI}}}, "task-type"),
    ],
)
def test_what_cannot_be_pinned_names_the_field(book, field):
    with pytest.raises(ConfigurationInvalid) as error:
        pinned(book, ["a"], load_shipped())
    assert error.value.field == field
    assert error.value.remedy


def test_differences_and_ratios_cover_the_truth():
    rng = random.Random(9)
    inside = [0, 0]
    for _ in range(400):
        a, b = ([rng.gauss(mean, 0.3) for _ in range(20)] for mean in (2.0, 1.0))
        left, right = of_values(a), of_values(b)
        gap, share = difference(left, right), ratio(left, right)
        inside[0] += gap.low <= 1.0 <= gap.high
        inside[1] += share.low <= 2.0 <= share.high
    assert all(0.86 <= n / 400 <= 0.96 for n in inside)
    assert difference(None, None) is None
    assert ratio(Measure(2, 1.0, -0.5, 2.5), Measure(2, 1.0, 0.5, 1.5)) is None
    assert math.isclose(ratio(Measure(1, 2.0, 2.0, 2.0), Measure(1, 4.0, 4.0, 4.0)).mean, 0.5)

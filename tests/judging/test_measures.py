"""How judges judge, measured on logs whose judges are scripted: agreement, flips, movement, calibration, cost."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from learning.features import SCHEMA_VERSION, encode, to_bytes
from learning.voices import Voices
from router import bootstrap, config
from router.api.app import create_app
from router.cli.app import run
from router.domain.decisions import Decision
from router.domain.events import Feedback, FeedbackChange, Outcome, Status, Write
from router.domain.judge_measures import JudgeReport, Measured
from router.services.judge_report import judge_report
from router.storage import schema
from router.storage.memory import MemoryStore
from router.storage.sql import SqlStore

MODEL = "openai/gpt-4o"


def decision(number: int, model: str = MODEL) -> Decision:
    features = to_bytes(encode(1_000))
    return Decision(
        f"d{number}", float(number), "quick_qa", SCHEMA_VERSION, features, {}, (model,), (1.0,), model, 1.0, 1.0, "", "plan", "1", 0, "1",
        forced=True,
    )  # fmt: skip


def scored(number: int, judge: str, score: float, metric: str = "quality", **more: float) -> Feedback:
    clipped = min(1.0, max(0.0, score))
    return Feedback(f"{judge}-{metric}-{number}", f"d{number}", judge, metric, clipped, float(number), **more)  # type: ignore[arg-type]


def log(answers: int = 400, *, moves_at: int | None = None, models_move_at: int | None = None, seed: int = 1) -> list[Write]:
    """A human who is right, a judge that is 0.1 too generous and noisy, and one that only compares."""
    rng = np.random.default_rng(seed)
    writes: list[Write] = []
    for number in range(answers):
        truth = float(rng.uniform(0.3, 0.8)) - (0.2 if models_move_at is not None and number >= models_move_at else 0.0)
        generous = 0.25 if moves_at is not None and number >= moves_at else 0.1
        writes += [decision(number), Outcome(f"d{number}", Status.OK, float(number), latency_s=1.0)]
        writes.append(scored(number, "llm@1", truth + generous + float(rng.normal(0, 0.05)), cost_usd=0.001, sampling=0.5))
        if number % 2 == 0:
            writes.append(scored(number, "human", truth))
        if number % 4 == 0:
            writes.append(scored(number, "pairs@1", float(rng.integers(0, 2)), "flip"))
    return writes


def measured(writes: list[Write], window: int = 1_000_000) -> JudgeReport:
    store = MemoryStore()
    assert all(not isinstance(result, Exception) for result in store.commit(writes))
    return judge_report(store, {}, Voices(["human"]).trusts, window)


def of(report: JudgeReport, judge: str) -> Measured:
    return next(one for one in report.judges if one.judge == judge)


def test_counts_costs_and_sampling() -> None:
    report = measured(log())
    llm, human = of(report, "llm@1"), of(report, "human")
    assert (llm.scores, human.scores, llm.models) == (400, 200, 1)
    assert llm.cost_usd == pytest.approx(0.4)
    assert (llm.sampled, llm.mean_sampling, human.sampled, human.mean_sampling) == (400, 0.5, 0, None)
    assert (llm.trusted, human.trusted) == (False, True)
    assert human.mean == pytest.approx(0.55, abs=0.03)
    assert [one.judge for one in report.judges] == ["llm@1", "human", "pairs@1"]


def test_agreement_covers_the_scripted_difference() -> None:
    (pair,) = measured(log()).agreements
    assert (pair.first, pair.second, pair.shared) == ("human", "llm@1", 200)
    assert pair.difference.low <= -0.1 <= pair.difference.high
    assert pair.difference.high - pair.difference.low < 0.03
    assert pair.correlation is not None
    assert pair.correlation > 0.9
    assert 0.3 < pair.close < 0.7


def test_flips_are_counted() -> None:
    pairs = of(measured(log()), "pairs@1")
    assert pairs.comparisons == 100
    assert pairs.flips is not None
    assert 0.35 < pairs.flips < 0.65
    assert pairs.scores == 0


def test_a_judge_that_moves_is_found_and_one_that_stays_is_not() -> None:
    moved = of(measured(log(moves_at=300)), "llm@1").moved
    assert moved is not None
    assert moved.basis == "shared answers"
    assert moved.sure
    assert moved.difference.low <= 0.15 <= moved.difference.high
    still = of(measured(log()), "llm@1").moved
    assert still is not None
    assert not still.sure


def test_models_that_move_are_not_taken_for_the_judge() -> None:
    moved = of(measured(log(models_move_at=300)), "llm@1").moved
    assert moved is not None
    assert not moved.sure
    assert abs(moved.difference.mean) < 0.03


def test_without_shared_answers_like_is_compared_with_like() -> None:
    alone = [write for write in log(moves_at=300) if not (isinstance(write, Feedback) and write.judge == "human")]
    moved = of(measured(alone), "llm@1").moved
    assert moved is not None
    assert (moved.basis, moved.sure) == ("same models and task types", True)


def test_corrections_and_retractions_count_as_they_stand() -> None:
    writes = [*log(40), FeedbackChange("human-quality-0", None, 99.0), FeedbackChange("human-quality-2", 1.0, 99.0)]
    report = measured(writes)
    assert of(report, "human").scores == 19
    assert of(report, "llm@1").cost_usd == pytest.approx(0.04)


def test_a_window_looks_at_the_end_of_the_log() -> None:
    report = measured(log(), window=100)
    assert report.upto - report.after_seq == 100
    assert of(report, "llm@1").scores < 40


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'log.db'}"
    schema.upgrade(url)
    store = SqlStore(url)
    store.commit(log())
    store.close()
    return url


def test_the_command_line_tells_calibration_too(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["judges", "--database-url", database, "--json"]) == 0
    told = {one["judge"]: one for one in json.loads(capsys.readouterr().out)["judges"]}
    known = told["llm@1"]["calibration"]
    assert known["shared"] == pytest.approx(190, abs=12)
    assert known["offset"] + known["slope"] * 0.65 == pytest.approx(0.55, abs=0.02)
    assert told["human"]["calibration"] is None
    assert told["human"]["trusted"] is True
    assert run(["judges", "--database-url", database]) == 0
    shown = capsys.readouterr().out
    assert "× score, noise" in shown
    assert "on the same answers" in shown


async def test_the_service_tells_the_same(database: str) -> None:
    settings = config.load(database_url=database, log_level="error")
    app = create_app(await bootstrap.build(settings))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        told = (await client.get("/v1/judges")).json()
        assert [one["judge"] for one in told["judges"]] == ["llm@1", "human", "pairs@1"]
        assert told["judges"][0]["calibration"]["shared"] == pytest.approx(190, abs=12)
        assert told["online"] is None
        assert (await client.get("/v1/judges?window=0")).status_code == 422

"""What is shown of a quality lies in [0, 1], wherever beliefs about it lie."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router import config
from router.domain.tasks import Task, Weights
from tests.running import running

MODELS = ["openai/gpt-4o", "openai/gpt-4o-mini"]
TYPE = "summarization"
AT = (1, 100_000)
"""Context lengths at which beliefs leave [0, 1]: short tasks went badly there and long ones well, and tokens go on."""


def qualities(told: Any, key: str = "") -> Iterator[dict[str, float]]:
    """Every mean with its interval that an answer gives under the name of quality."""
    if isinstance(told, dict):
        if key == "quality" and {"mean", "low", "high"} <= told.keys():
            yield told
        for name, inner in told.items():
            yield from qualities(inner, name)
    elif isinstance(told, list):
        for inner in told:
            yield from qualities(inner, key)


async def test_means_and_intervals_stay_within_what_a_score_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(config.load(database_url="memory://", log_level="error")) as (client, services):

        async def route(tokens: int, **asked: Any) -> Any:
            body = {"task_type": TYPE, "context_tokens": tokens, "constraints": {"models": MODELS}} | asked
            answer = await client.post("/v1/route", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        for i in range(120):
            score = float(i % 2)
            decided = await route(20_000 if score else 300)
            told = {"decision_id": decided["decision_id"], "judge": "human", "score": score}
            assert (await client.post("/v1/feedback", json=told)).status_code == 200
        await services.training.settle()  # type: ignore[attr-defined]
        beliefs = [services.routing.outlook(Task(TYPE, n, weights=Weights(1.0, 0.0, 0.0))).estimates.quality for n in AT]  # type: ignore[attr-defined]
        assert beliefs[0].min() < 0.0
        assert beliefs[1].max() > 1.0
        told, said = [], []
        for tokens in AT:
            decided = await route(tokens)
            strict = await route(tokens, constraints={"models": MODELS, "min_quality": 0.999})
            told += [decided, strict, (await client.get(f"/v1/decisions/{decided['decision_id']}")).json()]
            said += [decided["reason"], *(one["reason"] for one in strict["excluded"])]
            agents = {"name": "a", "task_type": TYPE, "context_tokens": tokens, "count": 3, "constraints": {"models": MODELS}}
            planned = await client.post("/v1/route/batch", json={"agents": [agents], "dry_run": True})
            assert planned.status_code == 200, planned.text
            told.append(planned.json())
        told += [(await client.get(path)).json() for path in ("/v1/policy", "/v1/rules", "/v1/guide")]
    shown = [value for one in qualities(told) for value in (one["mean"], one["low"], one["high"])]
    assert len(shown) > 30
    assert all(0.0 <= value <= 1.0 for value in shown)
    assert {0.0, 1.0} <= set(shown), "they were cut"
    named = [float(value) for text in said for value in re.findall(r"quality (-?[0-9.]+)", text)]
    assert named
    assert all(0.0 <= value <= 1.0 for value in named)

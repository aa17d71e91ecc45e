"""Every decision of a service that was restarted, repriced, extended and corrected recomputes from its log alone, to the last bit."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from router import config
from router.cli.app import run
from router.recomputing import decide_again
from router.services.audit import AuditService
from router.storage.sql import SqlStore
from tests.running import running

MODELS = ["anthropic/claude-3-haiku-20240307", "openai/gpt-4o", "openai/gpt-4o-mini", "acme/new"]
REQUESTS: list[dict[str, Any]] = [
    {"task_type": "summarization", "context_tokens": 900, "constraints": {"models": MODELS}},
    {"task_type": "code_generation", "context_tokens": 4_000, "needs": ["tools"]},
    {"prompt": "Solve for x: 3x + 5 = 20", "constraints": {"max_cost_usd": 0.002, "min_quality": 0.5}},
    {"task_type": "quick_qa", "speed": "fast", "weights": {"cost": 2.0}},
    {"task_type": "quick_qa", "explore": False},
    {"task_type": "classification", "policy": "linucb", "expected_output_tokens": 20, "constraints": {"exclude": [MODELS[0]]}},
    {"task_type": "translation_of_runes", "context_tokens": 90_000_000},
]


async def use(client: httpx.AsyncClient, rng: random.Random, rounds: int) -> None:
    for _ in range(rounds):
        decided = (await client.post("/v1/route", json=rng.choice(REQUESTS))).json()
        call = {"decision_id": decided["decision_id"], "latency_s": rng.uniform(0.2, 4)}
        call |= {"input_tokens": 900, "output_tokens": rng.randint(5, 900)}
        if rng.random() < 0.9:
            call |= {"status": "error"} if rng.random() < 0.1 else {}
            await client.post("/v1/outcomes", json=call)
        if rng.random() < 0.6:
            score = {"decision_id": decided["decision_id"], "score": rng.random(), "judge": rng.choice(["human", "llm"])}
            given = (await client.post("/v1/feedback", json=score)).json()["feedback_id"]
            if rng.random() < 0.2:
                await client.put(f"/v1/feedback/{given}", json={"score": rng.random()})
            elif rng.random() < 0.1:
                await client.delete(f"/v1/feedback/{given}")


async def test_every_decision_recomputes_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load(database_url=f"sqlite:///{tmp_path}/pointsman.db", durability="normal")
    rng = random.Random(11)
    async with running(settings) as (client, _):
        await use(client, rng, 40)
        model = {"id": "acme/new", "context_window": 90_000, "price": {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.2}}
        assert (await client.post("/v1/models", json=model)).status_code == 201
        await use(client, rng, 40)
    widened = config.load(database_url=settings.database_url, durability="normal", policy_parameters={"floor": 0.2})
    async with running(widened) as (client, services):
        await use(client, rng, 30)
        price = {"price": {"input_usd_per_mtok": 9.0, "output_usd_per_mtok": 30.0}}
        assert (await client.patch("/v1/models/openai/gpt-4o", json=price)).status_code == 200
        assert (await client.delete("/v1/models/acme/new")).status_code == 200
        await use(client, rng, 40)
        await services.training.settle()  # type: ignore[attr-defined]  # what is asked below folds the log itself, and may be ahead
        last = (await client.get("/v1/decisions?limit=1")).json()["decisions"][0]
        told = (await client.get(f"/v1/decisions/{last['decision_id']}")).json()["recomputed"]
        assert (told["exact"], told["model"], told["propensity"]) == (True, last["model"], last["propensity"])
        assert (await client.get(f"/v1/decisions/{last['decision_id']}?recompute=false")).json().get("recomputed") is None
        course = (await client.get("/v1/history/summarization?points=6")).json()
        assert [len(course["points"]), course["points"][-1]["seq"]] == [6, (await client.get("/readyz")).json()["seq"]]
        now = (await client.get("/v1/policy/summarization")).json()["task_types"][0]
        assert course["points"][-1]["preferences"] == now  # where the course ends is what is believed
        scored = sum(move["scores"] for move in course["moves"])
        assert scored > 0
        assert all(move["because"] for move in course["moves"])
    assert run(["audit", last["decision_id"]]) == 0
    assert "the same to the last bit" in capsys.readouterr().out
    assert run(["history", "summarization", "--points", "4"]) == 0
    assert "preferred model" in capsys.readouterr().out
    assert run(["audit", "dec_none"]) == 2
    assert "decision_id" in capsys.readouterr().err
    store = SqlStore(settings.database_url)
    try:
        records = store.decisions(limit=1_000)
        service = AuditService(store, decide_again)
        told = [service.recompute(record) for record in reversed(records)]
        assert Counter(audit.exact for audit in told) == {True: 150}, [a for a in told if not a.exact][:2]
        kinds = Counter(record.decision.policy for record in records)
        assert set(kinds) >= {"thompson", "linucb", "greedy", "fallback"}
        # the draw lies in the range of the model that it chose
        for audit in told:
            chosen = next(one for one in audit.models if one.model == audit.model) if audit.models else None
            if chosen is not None and chosen.draws is not None and audit.draw is not None:
                assert chosen.draws[0] <= audit.draw < chosen.draws[1]
        # in any order, and from snapshots
        for record in rng.sample(records, 10):
            assert AuditService(store, decide_again).recompute(record).exact
        # what was not so is found out
        drawn = next(record for record in records if record.decision.policy == "thompson" and len(record.decision.eligible) > 1)
        other = next(m for m in drawn.decision.eligible if m != drawn.decision.model)
        forged = service.recompute(replace(drawn, decision=replace(drawn.decision, model=other)))
        assert (forged.exact, forged.differences, forged.model) == (False, ("model",), drawn.decision.model)
        foreign = service.recompute(replace(drawn, decision=replace(drawn.decision, catalog_version="other")))
        assert foreign.exact is None
        assert "does not hold" in str(foreign.why_not)
    finally:
        store.close()

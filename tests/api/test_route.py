"""``POST /v1/route``: what the answer holds, and that text only names and counts."""

from typing import Any

import msgspec
import pytest

from router.api.tasks import ASSUMED_TOKENS, PRESETS
from router.domain.models import Capability, Modality
from router.domain.tasks import Speed, Weights
from tests.api.conftest import Rig

MARKER = "xq7markerq7x"


async def test_answer_has_the_documented_fields(rig: Rig) -> None:
    answer = (await rig.client.post("/v1/route", json={"task_type": "code_generation", "context_tokens": 1200})).json()
    assert set(answer) >= {
        "decision_id", "provider", "model", "confidence", "propensity", "reason", "expected", "alternatives", "excluded", "policy",
        "task_type", "features_schema",
    }  # fmt: skip
    assert answer["model"].startswith(answer["provider"] + "/")
    assert set(answer["policy"]) == {"name", "version", "seq"}
    assert answer["expected"]["quality"] == {"mean": 0.7, "low": 0.5, "high": 0.9}
    assert rig.store.decision(answer["decision_id"]) is not None


async def test_excluded_models_carry_their_reason(rig: Rig) -> None:
    answer = (await rig.client.post("/v1/route", json={"task_type": "x", "context_tokens": 50_000})).json()
    assert answer["model"] == "acme/large"
    codes = {entry["model"]: entry["code"] for entry in answer["excluded"]}
    assert codes == {"acme/small": "context_window", "other/plain": "context_window"}


async def test_every_field_reaches_the_task(rig: Rig) -> None:
    body = {
        "task_type": "data_extraction",
        "context_tokens": 10,
        "expected_output_tokens": 20,
        "max_output_tokens": 30,
        "needs": ["json"],
        "modalities": ["text"],
        "speed": "fast",
        "constraints": {
            "max_cost_usd": 1,
            "max_latency_s": 2.5,
            "min_quality": 0.1,
            "models": ["acme/small"],
            "exclude": ["acme/large"],
            "providers": ["acme"],
        },
        "weights": {"quality": 2, "cost": 0},
        "policy": "greedy",
        "explore": False,
        "allow_fallback": False,
        "episode_id": "run-1",
        "tags": {"b": "2", "a": "1"},
    }
    assert (await rig.client.post("/v1/route", json=body)).status_code == 200
    (task,) = rig.routing.seen
    assert (task.task_type, task.context_tokens, task.expected_output_tokens, task.max_output_tokens) == ("data_extraction", 10, 20, 30)
    assert (task.needs, task.modalities, task.speed) == ({Capability.JSON}, {Modality.TEXT}, Speed.FAST)
    limits = task.constraints
    assert (limits.max_cost_usd, limits.max_latency_s, limits.min_quality) == (1.0, 2.5, 0.1)
    assert (limits.models, limits.exclude, limits.providers) == ({"acme/small"}, {"acme/large"}, {"acme"})
    assert task.weights == Weights(2.0, 0.0, Weights().latency)
    assert (task.policy, task.explore, task.allow_fallback) == ("greedy", False, False)
    assert (task.episode_id, task.tags, task.type_confidence) == ("run-1", (("a", "1"), ("b", "2")), 1.0)


@pytest.mark.parametrize("preset", list(PRESETS))
async def test_presets(rig: Rig, preset: Any) -> None:
    await rig.decide(weights=preset.value)
    assert rig.routing.seen[0].weights == PRESETS[preset]


async def test_text_names_and_counts_and_is_dropped(rig: Rig) -> None:
    prompt = f"Summarize the following report in three sentences. {MARKER} " + "word " * 1000
    answer = await rig.client.post("/v1/route", json={"prompt": prompt})
    assert answer.json()["task_type"] == "summarization"
    (task,) = rig.routing.seen
    assert 900 < task.context_tokens < 1600
    assert 0 < task.type_confidence < 1
    record = rig.store.decision(answer.json()["decision_id"])
    assert MARKER not in answer.text
    assert MARKER.encode() not in msgspec.json.encode(record)


async def test_a_named_task_without_text_or_count_is_short(rig: Rig) -> None:
    await rig.decide()
    assert rig.routing.seen[0].context_tokens == ASSUMED_TOKENS


async def test_the_callers_count_wins(rig: Rig) -> None:
    await rig.decide(prompt="a few words", context_tokens=7_000)
    assert rig.routing.seen[0].context_tokens == 7_000


async def test_pictures_in_messages_are_seen(rig: Rig) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARKER}"}}
    messages = [
        {"role": "system", "content": "Be brief.", "name": "x"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
    ]
    answer = await rig.client.post("/v1/route", json={"messages": messages})
    (task,) = rig.routing.seen
    assert answer.json()["model"] == "acme/large"
    assert task.task_type == "multimodal"
    assert task.modalities == {Modality.TEXT, Modality.IMAGE}
    assert task.context_tokens > 800
    assert MARKER not in answer.text


async def test_fallback_or_422_where_nothing_is_eligible(rig: Rig) -> None:
    body: dict[str, Any] = {"task_type": "x", "constraints": {"models": ["nobody/none"]}}
    answer = (await rig.client.post("/v1/route", json=body)).json()
    assert answer["fallback"]
    assert "fallback" in answer["reason"]
    refused = await rig.client.post("/v1/route", json=body | {"allow_fallback": False})
    assert refused.status_code == 422
    assert refused.json()["error"]["type"] == "no_eligible_model"
    assert refused.json()["error"]["remedy"]

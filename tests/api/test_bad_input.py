"""Whatever is sent, the answer is a 4xx in one shape that names the field and the remedy and repeats nothing of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.api.schemas import MAX_BATCH
from tests.api.conftest import Rig

MARKER = "xq7markerq7x"
HUGE = 10**400
DEEP = "[" * 5_000 + "]" * 5_000
JSON = {"content-type": "application/json"}


def refused(answer: Any, status: int | set[int], field: str | None) -> dict[str, Any]:
    assert answer.status_code in ({status} if isinstance(status, int) else status), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert MARKER not in answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"type", "message", "field", "remedy"}
    assert error["message"]
    assert error["remedy"]
    if field is not None:
        assert error["field"] == field
    return error


ROUTE: list[tuple[str, Any]] = [
    ("bogus", {"task_type": "x", "bogus": MARKER}),
    ("constraints.max_price", {"task_type": "x", "constraints": {"max_price": MARKER}}),
    ("weights.qualty", {"task_type": "x", "weights": {"qualty": MARKER}}),
    ("task_type", {}),
    ("task_type", {"context_tokens": 5}),
    ("task_type", {"task_type": 5}),
    ("task_type", {"task_type": ""}),
    ("task_type", {"task_type": f"{MARKER} <script>"}),
    ("task_type", {"task_type": MARKER * 20}),
    ("prompt", {"prompt": MARKER, "messages": [{"role": "user", "content": MARKER}]}),
    ("prompt", {"prompt": ""}),
    ("prompt", {"prompt": {"text": MARKER}}),
    ("messages", {"messages": []}),
    ("messages", {"messages": MARKER}),
    ("messages[0]", {"messages": [MARKER]}),
    ("messages[0].role", {"messages": [{"content": MARKER}]}),
    ("messages[1].content", {"messages": [{"role": "user"}, {"role": "user", "content": 5}]}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"text": MARKER}]}]}),
    ("messages[0].content[0].text", {"messages": [{"role": "user", "content": [{"type": "text", "text": [MARKER]}]}]}),
    ("context_tokens", {"task_type": "x", "context_tokens": -1}),
    ("context_tokens", {"task_type": "x", "context_tokens": "12"}),
    ("context_tokens", {"task_type": "x", "context_tokens": 1.5}),
    ("context_tokens", {"task_type": "x", "context_tokens": True}),
    ("context_tokens", {"task_type": "x", "context_tokens": 2**70}),
    ("max_output_tokens", {"task_type": "x", "max_output_tokens": 0}),
    ("needs[0]", {"task_type": "x", "needs": [MARKER]}),
    ("needs", {"task_type": "x", "needs": "tools"}),
    ("modalities[0]", {"task_type": "x", "modalities": ["smell"]}),
    ("speed", {"task_type": "x", "speed": MARKER}),
    ("constraints", {"task_type": "x", "constraints": MARKER}),
    ("constraints.max_cost_usd", {"task_type": "x", "constraints": {"max_cost_usd": -1}}),
    ("constraints.max_latency_s", {"task_type": "x", "constraints": {"max_latency_s": 0}}),
    ("constraints.min_quality", {"task_type": "x", "constraints": {"min_quality": 1.01}}),
    ("constraints.models", {"task_type": "x", "constraints": {"models": []}}),
    ("constraints.models[0]", {"task_type": "x", "constraints": {"models": [f"{MARKER} {MARKER}"]}}),
    ("constraints.providers", {"task_type": "x", "constraints": {"providers": "openai"}}),
    ("weights", {"task_type": "x", "weights": MARKER}),
    ("weights", {"task_type": "x", "weights": [1, 2, 3]}),
    ("weights.quality", {"task_type": "x", "weights": {"quality": -1}}),
    ("weights.quality", {"task_type": "x", "weights": {"quality": 0, "cost": 0, "latency": 0}}),
    ("policy", {"task_type": "x", "policy": f"../{MARKER}"}),
    ("explore", {"task_type": "x", "explore": "false"}),
    ("allow_fallback", {"task_type": "x", "allow_fallback": 1}),
    ("episode_id", {"task_type": "x", "episode_id": "a\u0000b"}),
    ("tags", {"task_type": "x", "tags": {MARKER: 5}}),
    ("tags", {"task_type": "x", "tags": {f"{MARKER} {MARKER}": "v"}}),
    ("tags", {"task_type": "x", "tags": {"a": f"{MARKER}\n"}}),
    ("tags", {"task_type": "x", "tags": {str(i): "v" for i in range(17)}}),
]
FEEDBACK: list[tuple[str, Any]] = [
    ("decision_id", {"score": 1}),
    ("decision_id", {"decision_id": "a", "episode_id": "b", "score": 1}),
    ("decision_id", {"decision_id": 5, "score": 1}),
    ("decision_id", {"decision_id": f"{MARKER}\u0000", "score": 1}),
    ("score", {"decision_id": "a"}),
    ("score", {"decision_id": "a", "score": 1, "verdict": "good"}),
    ("score", {"decision_id": "a", "score": 1.5}),
    ("score", {"decision_id": "a", "score": -0.1}),
    ("score", {"decision_id": "a", "score": "1"}),
    ("score", {"decision_id": "a", "score": True}),
    ("verdict", {"decision_id": "a", "verdict": MARKER}),
    ("preferred_over", {"decision_id": "a", "preferred_over": "a"}),
    ("preferred_over", {"episode_id": "a", "preferred_over": "b"}),
    ("judge", {"decision_id": "a", "score": 1, "judge": ""}),
    ("judge", {"decision_id": "a", "score": 1, "judge": "ann/preference"}),
    ("metric", {"decision_id": "a", "score": 1, "metric": MARKER.upper()}),
    ("comment", {"decision_id": "a", "score": 1, "comment": MARKER * 500}),
    ("weight", {"decision_id": "a", "score": 1, "weight": 7}),
    ("body", []),
    ("body", [{"decision_id": "a", "score": 1}] * (MAX_BATCH + 1)),
    ("[1].score", [{"decision_id": "a", "score": 1}, {"decision_id": "a", "score": 2}]),
    ("[1].score", [{"decision_id": "a", "score": 1}, {"decision_id": "a"}]),
    ("[0]", [MARKER]),
    ("body", MARKER),
    ("body", None),
]
OUTCOMES: list[tuple[str, Any]] = [
    ("decision_id", {}),
    ("status", {"decision_id": "a", "status": MARKER}),
    ("latency_s", {"decision_id": "a", "latency_s": -1}),
    ("ttft_s", {"decision_id": "a", "ttft_s": "0.5"}),
    ("input_tokens", {"decision_id": "a", "input_tokens": 0.5}),
    ("output_tokens", {"decision_id": "a", "output_tokens": -1}),
    ("cost_usd", {"decision_id": "a", "cost_usd": 1e300}),
    ("model", {"decision_id": "a", "model": MARKER}),
    ("seq", {"decision_id": "a", "seq": 1}),
    ("body", []),
]
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
MODELS: list[tuple[str, Any]] = [
    ("id", {"context_window": 5}),
    ("id", {"id": MARKER, "context_window": 5}),
    ("context_window", {"id": "a/b"}),
    ("context_window", {"id": "a/b", "context_window": 0}),
    ("max_output_tokens", {"id": f"a/{MARKER}", "context_window": 5, "max_output_tokens": 6}),
    ("modalities", {"id": f"a/{MARKER}", "context_window": 5, "modalities": ["image"]}),
    ("price.input_usd_per_mtok", {"id": "a/b", "context_window": 5, "price": {"output_usd_per_mtok": 1}}),
    ("price.input_usd_per_mtok", {"id": "a/b", "context_window": 5, "price": {"input_usd_per_mtok": -1, "output_usd_per_mtok": 1}}),
    ("price.effective_from", {"id": "a/b", "context_window": 5, "price": PRICE | {"effective_from": MARKER}}),
    ("speed.output_tokens_per_s", {"id": "a/b", "context_window": 5, "speed": {"ttft_s": 1, "output_tokens_per_s": 0}}),
    ("family", {"id": "a/b", "context_window": 5, "family": " "}),
]  # fmt: skip
KEYS: list[tuple[str, Any]] = [
    ("name", {"scopes": ["admin"]}),
    ("name", {"name": f"{MARKER} <b>", "scopes": ["admin"]}),
    ("name", {"name": f"{MARKER}\n", "scopes": ["admin"]}),
    ("name", {"name": MARKER * 10, "scopes": ["admin"]}),
    ("scopes", {"name": MARKER}),
    ("scopes", {"name": MARKER, "scopes": []}),
    ("scopes", {"name": MARKER, "scopes": "admin"}),
    ("scopes[0]", {"name": MARKER, "scopes": [MARKER]}),
    ("scopes", {"name": MARKER, "scopes": ["read", "chat"]}),
    ("expires", {"name": MARKER, "scopes": ["admin"], "expires": "0d"}),
    ("expires", {"name": MARKER, "scopes": ["admin"], "expires": 90}),
    ("expires", {"name": MARKER, "scopes": ["admin"], "expires": f"{MARKER}d"}),
    ("rate", {"name": MARKER, "scopes": ["admin"], "rate": "-1/s"}),
    ("rate", {"name": MARKER, "scopes": ["admin"], "rate": "9" * 16}),
    ("budget_usd", {"name": MARKER, "scopes": ["admin"], "budget_usd": "0/day"}),
    ("budget_usd", {"name": MARKER, "scopes": ["admin"], "budget_usd": "NaN/day"}),
    ("id", {"name": MARKER, "scopes": ["admin"], "id": MARKER}),
    ("digest", {"name": MARKER, "scopes": ["admin"], "digest": "0" * 64}),
    ("body", []),
]
CASES = (
    [("/v1/route", field, body) for field, body in ROUTE]
    + [("/v1/feedback", field, body) for field, body in FEEDBACK]
    + [("/v1/outcomes", field, body) for field, body in OUTCOMES]
    + [("/v1/models", field, body) for field, body in MODELS]
    + [("/v1/keys", field, body) for field, body in KEYS]
)


@pytest.mark.parametrize(("path", "field", "body"), CASES)
async def test_field_is_named(rig: Rig, path: str, field: str, body: Any) -> None:
    answer = await rig.client.post(path, content=json.dumps(body), headers=JSON)
    refused(answer, 422, field)
    assert rig.store.last_seq() == 0
    assert rig.store.keys() == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("path", "template", "field"),
    [
        ("/v1/route", '{"task_type": "x", "constraints": {"max_cost_usd": %s}}', "constraints.max_cost_usd"),
        ("/v1/route", '{"task_type": "x", "weights": {"quality": %s}}', "weights.quality"),
        ("/v1/route", '{"task_type": "x", "context_tokens": %s}', "context_tokens"),
        ("/v1/feedback", '{"decision_id": "a", "score": %s}', "score"),
        ("/v1/outcomes", '{"decision_id": "a", "latency_s": %s}', "latency_s"),
        ("/v1/models", '{"id": "a/b", "context_window": 5, "speed": {"ttft_s": %s, "output_tokens_per_s": 1}}', "speed.ttft_s"),
    ],
)  # fmt: skip
async def test_numbers_are_finite(rig: Rig, number: str, path: str, template: str, field: str) -> None:
    refused(await rig.client.post(path, content=template % number, headers=JSON), 422, field)


UNREADABLE = {
    "empty": b"",
    "blank": b"  \n",
    "cut": b'{"task_type": "' + MARKER.encode(),
    "words": MARKER.encode(),
    "single quotes": b"{'task_type': 'x'}",
    "trailing": b'{"task_type": "x"} ' + MARKER.encode(),
    "bad utf-8": b'{"task_type": "\xff\xfe' + MARKER.encode() + b'"}',
    "lone surrogate": b'{"task_type": "x", "prompt": "\\ud800' + MARKER.encode() + b'"}',
    "utf-16": f'{{"task_type": "{MARKER}"}}'.encode("utf-16"),
    "deep list": DEEP.encode(),
    "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "deep part": b'{"messages": [{"role": "user", "content": ' + DEEP.encode() + b"}]}",
    "huge integer": b'{"task_type": "x", "context_tokens": ' + str(HUGE).encode() + b"}",
    "absurd integer": b'{"task_type": "x", "context_tokens": ' + b"9" * 100_000 + b"}",
    "nul": b'{"task_type": "x"}\x00',
    "byte order mark": b"\xef\xbb\xbf" + MARKER.encode(),
}


@pytest.mark.parametrize("name", list(UNREADABLE))
@pytest.mark.parametrize("path", ["/v1/route", "/v1/feedback", "/v1/outcomes", "/v1/models", "/v1/keys"])
async def test_unreadable_bodies(rig: Rig, path: str, name: str) -> None:
    refused(await rig.client.post(path, content=UNREADABLE[name], headers=JSON), {400, 422}, None)


@pytest.mark.parametrize("path", ["/v1/route", "/v1/feedback", "/v1/outcomes", "/v1/models", "/v1/keys"])
async def test_two_megabytes(rig: Rig, path: str) -> None:
    body = json.dumps({"prompt": MARKER + "a" * 2_000_000}).encode()
    refused(await rig.client.post(path, content=body, headers=JSON), 413, "body")


@pytest.mark.parametrize("path", ["/v1/route", "/v1/feedback", "/v1/models"])
async def test_two_megabytes_without_a_declared_length(rig: Rig, path: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"prompt": "' + MARKER.encode()
        for _ in range(200):
            yield b"a" * 10_000
        yield b'"}'

    refused(await rig.client.post(path, content=pieces(), headers=JSON), 413, "body")


async def test_chunked_bodies_within_the_limit_are_read(rig: Rig) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"task_type": '
        yield b'"x"}'

    assert (await rig.client.post("/v1/route", content=pieces(), headers=JSON)).status_code == 200


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"9" * 30])
async def test_odd_lengths(rig: Rig, length: bytes) -> None:
    answer = await rig.client.post("/v1/route", content=b"{}", headers={**JSON, "content-length": length.decode()})
    refused(answer, {413, 422}, None)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        f"multipart/form-data; boundary={MARKER}",
        "application/json; charset=latin-1",
    ],
)
@pytest.mark.parametrize("path", ["/v1/route", "/v1/feedback", "/v1/outcomes", "/v1/models", "/v1/keys"])
async def test_wrong_content_type(rig: Rig, path: str, kind: str | None) -> None:
    answer = await rig.client.post(path, content=b'{"task_type": "x"}', headers={"content-type": kind} if kind else {})
    refused(answer, 415, "Content-Type")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"', "application/a+json"]
)
async def test_right_content_types(rig: Rig, kind: str) -> None:
    assert (await rig.client.post("/v1/route", content=b'{"task_type": "x"}', headers={"content-type": kind})).status_code == 200


@pytest.mark.parametrize("key", ["", "a" * 256, "white space", "caf\u00e9"])
async def test_bad_idempotency_key(rig: Rig, key: str) -> None:
    decision = await rig.decide()
    headers = [(b"idempotency-key", key.encode("utf-8"))]
    answer = await rig.client.post("/v1/feedback", json={"decision_id": decision, "score": 1}, headers=headers)
    refused(answer, 422, "Idempotency-Key")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"/v1/decisions?limit={MARKER}", "limit"),
        ("/v1/decisions?limit=0", "limit"),
        ("/v1/decisions?limit=501", "limit"),
        ("/v1/decisions?before_seq=-1", "before_seq"),
        (f"/v1/decisions?before_seq={'9' * 5_000}", "before_seq"),
        (f"/v1/decisions?bogus={MARKER}", "bogus"),
        (f"/v1/decisions?model={MARKER}", "model"),
        (f"/v1/decisions?episode_id=%00{MARKER}", "episode_id"),
        (f"/v1/policy/{MARKER}%20%3Cscript%3E", "task_type"),
        (f"/v1/models?include_retired={MARKER}", "include_retired"),
    ],
)
async def test_bad_queries(rig: Rig, path: str, field: str) -> None:
    refused(await rig.client.get(path), 422, field)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/{MARKER}", 404),
        ("GET", f"/v1/{MARKER}", 404),
        ("GET", "/v1/decisions/", 404),
        ("GET", f"/v1/decisions/{MARKER}", 404),
        ("GET", f"/v1/decisions/%00{MARKER}", 404),
        ("GET", f"/v1/decisions/{MARKER * 30}", 404),
        ("GET", f"/v1/models/{MARKER}", 404),
        ("GET", f"/v1/models/a/%00/{MARKER}", 404),
        ("DELETE", f"/v1/models/{MARKER}/x", 404),
        ("DELETE", f"/v1/feedback/{MARKER}", 404),
        ("DELETE", f"/v1/feedback/%FF%00{MARKER}", 404),
        ("GET", "/v1/route", 405),
        ("PUT", "/v1/route", 405),
        ("GET", f"/v1/keys/{MARKER}", 404),
        ("DELETE", f"/v1/keys/%00{MARKER}", 404),
        ("PUT", "/v1/keys/x", 405),
        ("DELETE", "/v1/decisions", 405),
        ("POST", "/healthz", 405),
        ("TRACE", "/v1/feedback", 405),
    ],
)
async def test_unknown_addresses_and_methods(rig: Rig, method: str, path: str, status: int) -> None:
    answer = await rig.client.request(method, path)
    refused(answer, status, None)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/feedback", {"decision_id": MARKER, "score": 1}),
        ("POST", "/v1/feedback", [{"decision_id": MARKER, "score": 1}]),
        ("POST", "/v1/feedback", {"episode_id": MARKER, "score": 1}),
        ("POST", "/v1/feedback", {"decision_id": MARKER, "preferred_over": "b"}),
        ("POST", "/v1/outcomes", {"decision_id": MARKER}),
        ("POST", "/v1/outcomes", {"decision_id": "a", "model": f"acme/{MARKER}"}),
        ("PUT", f"/v1/feedback/{MARKER}", {"score": 1}),
        ("PATCH", f"/v1/models/{MARKER}", {"retired": True}),
    ],
)
async def test_unknown_things(rig: Rig, method: str, path: str, body: Any) -> None:
    refused(await rig.client.request(method, path, json=body), 404, None)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PATHS = st.sampled_from(["/v1/route", "/v1/feedback", "/v1/outcomes", "/v1/models", "/v1/keys"])
FIELDS = st.sampled_from(
    ["task_type", "messages", "constraints", "weights", "tags", "needs", "score", "decision_id", "verdict", "status", "id", "price"]
)


@given(path=PATHS, body=values | st.dictionaries(FIELDS, values))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_nothing_is_a_server_error(rig: Rig, path: str, body: Any) -> None:
    answer = await rig.client.post(path, content=json.dumps(body).encode(), headers=JSON)
    assert answer.status_code < 500, (body, answer.text)
    assert answer.status_code < 300 or set(answer.json()["error"]) == {"type", "message", "field", "remedy"}

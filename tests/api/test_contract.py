"""What every route and every error must hold, found by walking them."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from learning.errors import LearningError
from router import telemetry
from router.api import documentation, errors
from router.api.hot import HotApp, HotRoute
from router.errors import Overloaded, RouterError, SchemaTooNew, StorageUnavailable
from tests.api.conftest import Rig


def below(cls: type[Exception]) -> Iterator[type[Exception]]:
    yield cls
    for child in cls.__subclasses__():
        yield from below(child)


def test_every_error_has_its_own_status() -> None:
    known = [cls for root in (RouterError, LearningError) for cls in below(root) if not cls.__module__.startswith("router.demo")]
    missing = [cls.__name__ for cls in known if cls not in errors.STATUS]  # the demo is a client: its errors are answered to nobody
    assert missing == []
    assert set(errors.STATUS.values()) <= {400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 502, 503}


def test_waiting_helps_is_said_in_seconds() -> None:
    assert errors.error_response(Overloaded("full")).headers["retry-after"] == "1"
    assert errors.error_response(Overloaded("full", retry_after_s=2.2)).headers["retry-after"] == "3"
    assert errors.error_response(StorageUnavailable("down")).headers["retry-after"] == "5"
    assert "retry-after" not in errors.error_response(SchemaTooNew("new")).headers


async def test_no_route_and_no_dependency_is_synchronous(rig: Rig) -> None:
    ours = [route for route in rig.app.routes if isinstance(route, APIRoute)]
    assert len(ours) >= 16
    for route in rig.app.routes:
        assert isinstance(route, Route), route
        assert inspect.iscoroutinefunction(route.endpoint), route.path
    for route in ours:
        assert all(inspect.iscoroutinefunction(dependency.call) for dependency in route.dependant.dependencies), route.path


async def test_no_middleware_that_wraps_responses(rig: Rig) -> None:
    assert [middleware.cls.__name__ for middleware in rig.app.user_middleware] == ["BodyLimit"]


async def test_handlers_of_errors_are_coroutines(rig: Rig) -> None:
    for kind, handler in rig.app.exception_handlers.items():
        if "fastapi" not in handler.__module__:
            assert inspect.iscoroutinefunction(handler), kind


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_document_is_whole(rig: Rig) -> None:
    document = (await rig.client.get("/openapi.json")).json()
    known = set(document["components"]["schemas"])
    assert {reference.rpartition("/")[2] for reference in references(document)} <= known
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            if method in {"post", "put", "patch"}:
                content = operation["requestBody"]["content"]["application/json"]
                assert content["schema"], (method, path)
                assert content["examples"], (method, path)
            assert "2" in {status[0] for status in operation["responses"]}
    assert {"RouteRequest", "FeedbackIn", "OutcomeIn", "ModelIn", "RouteAnswer", "ErrorAnswer"} <= known
    assert (await rig.client.get("/docs")).status_code == 200


async def test_the_document_is_made_once_and_beside_the_event_loop() -> None:
    makers: list[threading.Thread] = []

    def described() -> FastAPI:
        makers.append(threading.current_thread())
        return FastAPI(title="described")

    app = FastAPI()
    documentation.install(app, described, [])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(3)))
    assert [answer.json()["info"]["title"] for answer in answers] == ["described"] * 3
    assert len(makers) == 1
    assert makers[0] is not threading.current_thread()


async def test_examples_are_accepted(rig: Rig) -> None:
    document = (await rig.client.get("/openapi.json")).json()
    for example in document["paths"]["/v1/route"]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
        assert (await rig.client.post("/v1/route", json=example["value"])).status_code == 200
    for path in ("/v1/feedback", "/v1/outcomes"):
        for example in document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
            await rig.decide(episode_id="run-42")
            assert (await rig.client.post(path, json=example["value"])).status_code in {200, 404}
    example = document["paths"]["/v1/models"]["post"]["requestBody"]["content"]["application/json"]["examples"]["priced"]
    assert (await rig.client.post("/v1/models", json=example["value"])).status_code == 201
    examples = document["paths"]["/v1/keys"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    made = await rig.client.post("/v1/keys", json=examples["first"]["value"])
    assert made.status_code == 201
    bearer = {"Authorization": f"Bearer {made.json()['key']}"}
    assert (await rig.client.post("/v1/keys", json=examples["limited"]["value"], headers=bearer)).status_code == 201


async def test_answers_match_their_documentation(rig: Rig) -> None:
    from router.api.views.decisions import DecisionPage, DecisionView
    from router.api.views.feedback import ChangeAnswer, FeedbackAnswer, FeedbackResults, OutcomeAnswer
    from router.api.views.health import Readiness
    from router.api.views.keys import KeyList, KeyView, NewKeyView
    from router.api.views.models import ModelHistory, ModelList
    from router.api.views.policy import PolicyView
    from router.api.views.routing import RouteAnswer

    async def body(call: Any) -> bytes:
        answer: httpx.Response = await call
        assert answer.status_code < 300, answer.text
        return answer.content

    client = rig.client
    decided = RouteAnswer.model_validate_json(await body(client.post("/v1/route", json={"task_type": "x"})), strict=True)
    score = {"decision_id": decided.decision_id, "score": 1}
    given = FeedbackAnswer.model_validate_json(await body(client.post("/v1/feedback", json=score)))
    OutcomeAnswer.model_validate_json(await body(client.post("/v1/outcomes", json={"decision_id": decided.decision_id})))
    ChangeAnswer.model_validate_json(await body(client.put(f"/v1/feedback/{given.feedback_id}", json={"score": 0})))
    FeedbackResults.model_validate_json(await body(client.post("/v1/feedback", json=[score | {"judge": "b"}])))
    DecisionPage.model_validate_json(await body(client.get("/v1/decisions")))
    DecisionView.model_validate_json(await body(client.get(f"/v1/decisions/{decided.decision_id}")))
    ModelList.model_validate_json(await body(client.get("/v1/models")))
    await body(client.patch("/v1/models/acme/small", json={"context_window": 9_000}))
    ModelHistory.model_validate_json(await body(client.get("/v1/models/acme/small")))
    Readiness.model_validate_json(await body(client.get("/readyz")))
    PolicyView.model_validate_json(await body(client.get("/v1/policy")))
    PolicyView.model_validate_json(await body(client.get("/v1/policy/never_seen")))
    assert await body(client.get("/healthz")) == b'{"status":"ok"}'
    wanted = {"name": "k", "scopes": ["admin"], "expires": "1d", "rate": "9/s", "budget_usd": "5/day"}
    made = NewKeyView.model_validate_json(await body(client.post("/v1/keys", json=wanted)))
    client.headers["Authorization"] = f"Bearer {made.key}"
    KeyView.model_validate_json(await body(client.get(f"/v1/keys/{made.id}")))
    KeyList.model_validate_json(await body(client.get("/v1/keys")))


async def test_unexpected_failure_tells_nothing_and_is_logged(rig: Rig, monkeypatch: Any, capfd: Any) -> None:
    class Broken:
        async def route(self, task: Any) -> Any:
            raise ValueError("xq7markerq7x")

    telemetry.configure()
    rig.app.state.services = type(rig.services)(
        **{name: getattr(rig.services, name) for name in rig.services.__slots__} | {"routing": Broken()}
    )
    answer = await rig.client.post("/v1/route", json={"task_type": "x"})
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"type", "message", "field", "remedy"}
    logged = capfd.readouterr().err
    assert '"event":"request.failed"' in logged
    assert "xq7markerq7x" not in answer.text + logged


async def test_a_stream_that_fails_is_logged_by_its_route(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ValueError("xq7markerq7x")

    async def endpoint(request: Request) -> Response:
        return Broken()

    telemetry.configure()
    app = HotApp()
    app.router.add_api_route("/broken", endpoint, route_class_override=HotRoute)
    app.lay()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        with pytest.raises(ValueError, match="xq7markerq7x"):
            await client.get("/broken")
    logged = capfd.readouterr().err
    assert ('"event":"request.failed"' in logged, '"route":"/broken"' in logged, "xq7markerq7x" in logged) == (True, True, False)


async def test_unreachable_storage_is_not_ready(rig: Rig, monkeypatch: Any) -> None:
    class Unreachable:
        def check(self) -> None:
            raise StorageUnavailable("the database does not answer", remedy="retry")

    rig.app.state.services = type(rig.services)(
        **{name: getattr(rig.services, name) for name in rig.services.__slots__} | {"store": Unreachable()}
    )
    answer = await rig.client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (await rig.client.get("/healthz")).status_code == 200

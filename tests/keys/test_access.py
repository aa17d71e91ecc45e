"""Every endpoint asks for its scope once there are keys, and no key leaves a trace."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import uvicorn
from fastapi.routing import APIRoute

from router import telemetry
from router.api.access import ADMIN, CATALOGUE, CHAT, FEEDBACK, READ, ROUTE, WATCHED
from router.api.limits import BodyLimit
from router.domain.keys import Rate, Scope
from router.services import keys as enforcement
from tests.api.conftest import Rig
from tests.api.test_server import exchange
from tests.end_to_end.service import Service, environment
from tests.keys.conftest import Clock, wanted

OPEN = {"/healthz", "/readyz"}
FORESEEN = {
    "/v1/route": ROUTE,
    "/v1/route/batch": ROUTE,
    "/v1/chat/completions": CHAT,
    "/v1/feedback": FEEDBACK,
    "/v1/outcomes": FEEDBACK,
    "/v1/evaluate": READ,  # these ask the log and change nothing
    "/v1/whatif": READ,
}


def expected(method: str, path: str) -> frozenset[Scope]:
    """Which scopes an address takes; an address that is not foreseen here fails the test."""
    if path.startswith("/v1/models"):
        return CATALOGUE if method == "GET" else ADMIN
    if path.startswith("/v1/keys"):
        return ADMIN
    if path.startswith(("/v1/budgets", "/v1/pins")):
        return WATCHED if method == "GET" else ADMIN
    if method == "GET":
        return READ
    return FORESEEN[path.split("/{")[0]]


def addresses(rig: Rig) -> list[tuple[str, str]]:
    routes = [route for route in rig.app.routes if isinstance(route, APIRoute)]
    return [(method, route.path) for route in routes for method in sorted(route.methods)]


def filled(path: str) -> str:
    for name, value in {
        "task_type:path": "x",
        "model_id:path": "acme/small",
        "feedback_id": "fb_1",
        "decision_id": "d",
        "task_type": "x",
        "key_id": "key_1",
    }.items():
        path = path.replace(f"{{{name}}}", value)
    return path


async def test_every_address_asks_for_its_scope(rig: Rig) -> None:
    keys = rig.services.keys
    tokens = {scope: (await keys.create(wanted(scope.value, scope)))[1] for scope in Scope}
    revoked = (await keys.create(wanted("gone")))[1]
    await keys.revoke("gone")
    walked = 0
    for method, path in addresses(rig):
        at = filled(path)
        if path in OPEN:
            assert (await rig.client.request(method, at)).status_code == 200, path
            continue
        walked += 1
        for header in ({}, {"Authorization": f"Bearer {revoked}"}, {"Authorization": "Bearer pm_x"}, {"Authorization": f"Basic {revoked}"}):
            refused = await rig.client.request(method, at, headers=header)
            assert (refused.status_code, refused.headers.get("www-authenticate")) == (401, "Bearer"), (method, path)
            named = "authentication_error" if path == "/v1/chat/completions" else "key_missing"  # there as OpenAI names it
            assert refused.json()["error"]["type"] == named
        by_address = await rig.client.request(method, at, params={"key": tokens[Scope.ADMIN], "api_key": tokens[Scope.READ]})
        assert by_address.status_code in {401, 422}, "keys are not taken from addresses"
        taken = set()
        for scope, token in tokens.items():
            answered = await rig.client.request(method, at, headers={"Authorization": f"bearer {token}"})
            assert answered.status_code != 401, (method, path)
            if answered.status_code != 403:
                taken.add(scope)
        assert taken == expected(method, path), (method, path)
    assert walked >= 14


async def test_a_limited_key_is_told_when_to_come_back(rig: Rig) -> None:
    keys = rig.services.keys
    assert isinstance(keys, enforcement.KeyService)
    keys._monotonic = Clock(100.0)  # no time passes
    _, token = await keys.create(wanted(rate=Rate(2, 60)))
    rig.client.headers["Authorization"] = f"Bearer {token}"
    statuses = [(await rig.client.get("/v1/models")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await rig.client.get("/v1/models")).headers["retry-after"] == "30"


async def test_scores_name_their_key_and_idempotency_keys_belong_to_it(rig: Rig) -> None:
    decisions = [await rig.decide(), await rig.decide()]
    made = [await rig.services.keys.create(wanted(name)) for name in ("a", "b")]
    for (key, token), decision_id in zip(made, decisions, strict=True):
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "same"}
        for repeated in (False, True):
            answer = await rig.client.post("/v1/feedback", json={"decision_id": decision_id, "score": 1}, headers=headers)
            assert (answer.status_code, answer.json()["repeated"]) == (200, repeated)
        other = next(d for d in decisions if d != decision_id)
        assert (await rig.client.post("/v1/feedback", json={"decision_id": other, "score": 0}, headers=headers)).status_code == 409
        assert key.id in {getattr(event, "source", None) for event in rig.store.read_log(0, 100)}


async def test_a_body_that_trickles_in_is_cut_off(rig: Rig) -> None:
    impatient = BodyLimit(rig.app, 1024, receipt_s=0.2)
    server = uvicorn.Server(uvicorn.Config(impatient, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag and no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    for head, piece in (("Content-Length: 100\r\n", b'{"task'), ("Transfer-Encoding: chunked\r\n", b'3\r\n{"t\r\n')):
        told = await asyncio.wait_for(exchange(port, head, piece), 60)
        assert told.startswith(b"HTTP/1.1 408")
        assert b'"type":"body_too_slow"' in told
        assert b"connection: close" in told.lower()
    server.should_exit = True
    await running


def answer_of(address: str, token: str | None) -> tuple[int, str]:
    request = urllib.request.Request(f"{address}/v1/policy", headers={} if token is None else {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "router.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment(), cwd=folder, timeout=120, check=False)


def test_a_key_opens_a_running_service_until_it_is_revoked_and_is_found_nowhere(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    refused = command(tmp_path, "serve", "--host", "0.0.0.0", "--database-url", url)
    assert (refused.returncode, "[host]" in refused.stderr) == (2, True), "no key, no open address"
    limits = ("--rate", "100/s", "--budget-usd", "5/day")
    made = command(tmp_path, "keys", "create", "ci", "--scope", "read", *limits, "--database-url", url, "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["key"]
    running = Service(tmp_path, "--host", "0.0.0.0", "--database-url", url, "--durability", "normal", "--log-level", "debug")
    try:
        address = running.address.replace("0.0.0.0", "127.0.0.1")
        assert answer_of(address, None)[0] == 401
        assert answer_of(address, token)[0] == 200
        mangled = answer_of(address, token[:-1] + ("A" if token[-1] != "A" else "B"))
        assert mangled[0] == 401
        assert token[3:-1] not in mangled[1]
        listed = command(tmp_path, "keys", "list", "--database-url", url)
        processes = Path("/proc")
        lines = [p.read_bytes() for p in processes.glob("[0-9]*/cmdline") if _readable(p)] if processes.is_dir() else []
        revoked = command(tmp_path, "keys", "revoke", "ci", "--database-url", url)
        assert revoked.returncode == 0, revoked.stderr
        deadline = enforcement.MAX_AGE_S + 0.5
        asyncio.run(asyncio.sleep(deadline))
        assert answer_of(address, token)[0] == 401
    finally:
        running.stop()
    secret = token.encode()[11:]  # without what may be shown
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"ci" in kept
    assert secret not in kept + listed.stdout.encode() + revoked.stdout.encode() + b"".join(lines)
    assert token[:11] in listed.stdout
    again = command(tmp_path, "keys", "create", "two", "--scope", "everything", "--database-url", url)
    assert (again.returncode, again.stderr.count("\n"), "[scope]" in again.stderr) == (2, 1, True)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:  # it has ended, or is another user's
        return False
    return True


@pytest.mark.parametrize("name", ["authorization", "api_key", "key", "token", "keys"])
def test_logs_withhold_whatever_is_called_a_key(name: str) -> None:
    assert "pm_" not in str(telemetry.withhold(None, "", {name: "pm_secret"}))

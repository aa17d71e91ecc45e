"""Starts the service beside the demo, and speaks HTTP to it."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from router.config import PREFIX
from router.errors import ConfigurationInvalid, RouterError, StorageUnavailable

_STOP_S = 30.0
_PATIENCE_S = 20.0
"""How long a caller keeps trying where the service says that it is busy."""


class CallRefused(RouterError):
    """The service refused a call of the demo."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(f"HTTP {status}: {error.get('message')}", field=error.get("field"), remedy=error.get("remedy"))
        self.status = status


class Caller:
    """One keep-alive connection; not to be shared between threads."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer; waits and repeats while the service is busy.

        Raises ``CallRefused``, ``StorageUnavailable`` where the service is gone.
        """
        payload = None if body is None else msgspec.json.encode(body)
        give_up = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._connection.request(method, path, payload, {"content-type": "application/json"} if payload else {})
                answer = self._connection.getresponse()
                status, raw = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self._connection.close()
                raise StorageUnavailable("the demo's service is gone", remedy="its log says why") from exc
            if status == 503 and time.monotonic() < give_up:
                time.sleep(0.1)
                continue
            if status >= 400:
                raise CallRefused(status, msgspec.json.decode(raw).get("error", {}))
            return msgspec.json.decode(raw)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def model_path(model_id: str) -> str:
    """The address of one model."""
    return f"/v1/models/{quote(model_id, safe='/')}"


@contextmanager
def serving(settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The address of a service in a process of its own, which ends in order with the block (and where this process dies).

    ``folder`` receives its log. Only ``settings`` count: no variable and no ``.env`` of the caller's.
    Raises ``ConfigurationInvalid``, ``StorageUnavailable``.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    source = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (source, environment.get("PYTHONPATH"))))
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "router.demo.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=environment, text=True,
            start_new_session=True,  # Ctrl-C reaches the demo, which then ends the service in order
        )  # fmt: skip
    try:
        yield _started(process, settings, folder)
    finally:
        _stop(process)


def _started(process: "subprocess.Popen[str]", settings: Mapping[str, Any], folder: Path) -> str:
    if process.stdin is None or process.stdout is None:
        raise StorageUnavailable("the demo's service has no pipes", remedy="report it")
    process.stdin.write(json.dumps(settings) + "\n")
    process.stdin.flush()
    said = process.stdout.readline()
    if not said:
        raise StorageUnavailable("the demo's service did not start", remedy=f"read {folder / 'service.log'}")
    message = json.loads(said)
    if "error" in message:
        text, field, remedy = message["error"]
        raise ConfigurationInvalid(text, field=field, remedy=remedy)
    address: str = message["address"]
    return address


def _stop(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def settled(caller: Caller, seconds: float = 30.0) -> dict[str, Any]:
    """The service's readiness once everything committed is learned."""
    give_up = time.monotonic() + seconds
    while True:
        ready: dict[str, Any] = caller.call("GET", "/readyz")
        if ready["lag"] == 0 or time.monotonic() > give_up:
            return ready
        time.sleep(0.05)

"""A log line is JSON on standard error and holds neither text of a caller nor a secret."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from router import telemetry

MARKER = "hunter2secret"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.getLogger("uvicorn").handlers = []


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capfd.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_line_is_json_with_time_and_level(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    structlog.get_logger().info("service.started", port=8080, input_tokens=12)
    structlog.get_logger().debug("service.detail")
    (line,) = lines(capfd)
    assert line["event"] == "service.started"
    assert line["level"] == "info"
    assert (line["port"], line["input_tokens"]) == (8080, 12)
    assert str(line["at"]).endswith("Z")


@pytest.mark.parametrize("key", ["prompt", "messages", "comment", "authorization", "api_key", "password", "salt", "idempotency_key"])
def test_secret_bearing_keys_are_withheld(key: str, capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    structlog.get_logger().error("x.y", **{key: MARKER, "nested": {"deeper": [{key: MARKER}]}})
    (line,) = lines(capfd)
    assert line[key] == telemetry.WITHHELD
    assert MARKER not in json.dumps(line)


def test_values_that_may_hold_secrets_are_withheld(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    target = f"postgresql://u:{MARKER}@h/d"
    structlog.get_logger().error("x.y", target=target, raw=MARKER.encode(), thing=ValueError(MARKER), long="a" * 10_000)
    (line,) = lines(capfd)
    assert MARKER not in json.dumps(line)
    assert len(str(line["long"])) < 600


def test_exceptions_are_told_by_type_and_place(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    try:
        raise ValueError(MARKER)
    except ValueError:
        structlog.get_logger().error("x.y", exc_info=True)
        logging.getLogger("uvicorn.error").exception("failed with %s", MARKER)
    ours, servers = lines(capfd)
    assert ours["error"] == servers["error"] == "ValueError"
    assert "test_exceptions_are_told_by_type_and_place" in str(ours["where"])
    assert MARKER not in json.dumps([ours, servers])


def test_console_style_is_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("warning", "console")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud", prompt=MARKER)
    err = capfd.readouterr().err
    assert "loud" in err
    assert "quiet" not in err
    assert MARKER not in err

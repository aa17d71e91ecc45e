"""Structured logs: one line per notable event, none per request, never a prompt or a secret."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any, Literal

import msgspec
import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
WITHHELD = "[withheld]"
_MAX_VALUE = 500
_TEXT = frozenset({"prompt", "messages", "message_text", "content", "text", "comment", "completion", "answer", "body", "input", "headers"})
_SECRET = re.compile(r"(^|_)(authorization|cookie|credentials?|dsn|keys?|passw(or)?d|salt|secrets?|token)$|database_url|api_?key", re.I)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")


def release() -> str:
    """This release's version."""
    try:
        return version("pointsman")
    except PackageNotFoundError:
        return "0+source"  # run from a checkout that is not installed


def configure(level: str = "info", style: Literal["json", "console"] = "json") -> None:
    """Send every log line, the web server's included, to standard error in one shape."""
    threshold = LEVELS[level]
    for_people = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            describe_exception,
            withhold,
            structlog.processors.JSONRenderer(serializer=_to_json) if style == "json" else for_people,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer) if style == "json" else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    server = logging.getLogger("uvicorn")
    server.handlers = [_Forward()]
    server.propagate = False
    server.setLevel(max(threshold, logging.WARNING))


def withhold(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace whatever may be a secret or someone's text by a mark, and cut long values."""
    return {key: _clean(key, value, depth=0) for key, value in event.items()}


def describe_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the error's type and place; its message may quote what a caller sent."""
    exc = event.pop("exc_info", None)
    if exc is True:
        exc = sys.exc_info()[1]
    if isinstance(exc, tuple):
        exc = exc[1]
    if isinstance(exc, BaseException):
        event["error"] = type(exc).__name__
        event["where"] = places(exc.__traceback__)
    return event


def places(trace: TracebackType | None, last: int = 6) -> list[str]:
    """``file:line function`` of the innermost frames."""
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in extract_tb(trace)[-last:]]


def _clean(key: str, value: Any, depth: int) -> Any:
    if key in _TEXT or _SECRET.search(key):
        return WITHHELD
    if isinstance(value, str):
        shown = _URL_LOGIN.sub(f"{WITHHELD}@", value)
        return shown if len(shown) <= _MAX_VALUE else shown[:_MAX_VALUE] + "…"
    if isinstance(value, bytes | bytearray | memoryview):
        return WITHHELD
    if isinstance(value, Mapping):
        return {str(k): _clean(str(k), v, depth + 1) for k, v in value.items()} if depth < 4 else WITHHELD
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", v, depth + 1) for v in list(value)[:50]] if depth < 4 else WITHHELD
    if value is None or isinstance(value, bool | int | float):
        return value
    return type(value).__name__  # an object's repr is not ours to publish


def _to_json(event: Any, **_options: Any) -> bytes:
    return msgspec.json.encode(event)


class _Forward(logging.Handler):
    """Turns the web server's log records into events; their arguments stay out."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        log.log(record.levelno, "server.message", logger=record.name, template=str(record.msg), exc_info=record.exc_info or None)

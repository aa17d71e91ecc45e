"""API keys: what a key may do, how fast, and how much it may spend.

A token is 256 random bits, so a plain SHA-256 of it is what is kept: nobody finds such a token by trying, and a slow hash, which
protects words that people choose, would only slow every request down.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from router.errors import KeyMissing, TaskInvalid

_MARK = "pm_"
_SHOWN = 8
"""Characters that are kept in clear, so that a key can be recognised in a list."""
_LENGTH = 43
_TOKEN = re.compile(rf"{_MARK}[A-Za-z0-9_-]{{{_LENGTH}}}")
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "hour": 3_600, "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800}
_SESSION = re.compile(r"([A-Za-z0-9_-]{1,64})\.(\d{1,12})\.[0-9a-f]{64}")
_RATE = re.compile(r"(\d{1,9})/(s|min|h|hour|d|day)")
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/(h|hour|d|day|w|week|month)")
_SPAN = re.compile(r"(\d{1,5})(min|h|d|w)")
NANO_USD = 1_000_000_000
"""Money is counted in whole billionths of a dollar: sums are exact."""


class Scope(StrEnum):
    """What a key may do."""

    ROUTE = "route"
    CHAT = "chat"
    FEEDBACK = "feedback"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` requests at once, refilled evenly over ``period_s`` seconds."""

    count: int
    period_s: int


@dataclass(frozen=True, slots=True)
class Budget:
    """At most ``usd`` per ``period``: hour, day, week (from Monday) or month, each in UTC."""

    usd: float
    period: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: never its token."""

    id: str
    name: str
    prefix: str
    """How the token starts."""
    digest: str
    """SHA-256 of the token, in hexadecimal."""
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    rate: Rate | None = None
    budget: Budget | None = None

    def usable(self, now: float) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def asked_for(name: str, scopes: frozenset[Scope], now: float, *, expires: str | None, rate: str | None, budget_usd: str | None) -> ApiKey:
    """A key to make, from what somebody wrote; whoever makes it gives it id and token.

    Raises ``TaskInvalid`` naming the field.
    """
    return ApiKey(
        id="",
        name=name,
        prefix="",
        digest="",
        scopes=scopes,
        created_at=now,
        expires_at=None if expires is None else now + read_span(expires),
        rate=None if rate is None else read_rate(rate),
        budget=None if budget_usd is None else read_budget(budget_usd),
    )


def shown(key: ApiKey, drawn_usd: float | None) -> dict[str, Any]:
    """What may be told of a key, and of what was drawn of its budget; never its digest."""
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "rate": key.rate,
        "budget": key.budget,
        "drawn_usd": drawn_usd,
    }


def new_token() -> str:
    """A token to hand to its owner, once."""
    return _MARK + secrets.token_urlsafe(32)


def prefix_of(token: str) -> str:
    """The part of a token that may be shown."""
    return token[: len(_MARK) + _SHOWN]


def digest_of(token: str) -> str | None:
    """What is kept of a token; None where it cannot be one of ours."""
    return hashlib.sha256(token.encode()).hexdigest() if _TOKEN.fullmatch(token) else None


def check_caller(caller: str | None, known: Sequence[ApiKey]) -> None:
    """Refuse to change keys for whoever was admitted without one just before there was one: he might make himself a key.

    Raises ``KeyMissing``.
    """
    if known and caller is None:
        raise KeyMissing(
            "an API key was made just now: from now on every call needs one",
            field="Authorization",
            remedy="send the header Authorization: Bearer KEY with a key that has the scope admin",
        )


def check_first(key: ApiKey, known: Sequence[ApiKey]) -> None:
    """Refuse a first key after which nobody could make another over HTTP.

    Raises ``TaskInvalid``.
    """
    if not known and Scope.ADMIN not in key.scopes:
        raise TaskInvalid(
            "the first key needs the scope admin: from then on every call needs a key, and only such a key can make others here",
            field="scopes",
            remedy="add admin to its scopes, or make a key with 'pointsman keys create' first",
        )


def check_last(key: ApiKey, known: Sequence[ApiKey], now: float) -> None:
    """Refuse to revoke the last key that can make others over HTTP.

    Raises ``TaskInvalid``.
    """
    able = [one.id for one in known if one.usable(now) and Scope.ADMIN in one.scopes]
    if able == [key.id]:
        remedy = "make another one first, or revoke it with 'pointsman keys revoke'"
        raise TaskInvalid("this is the last usable key with the scope admin", field="key_id", remedy=remedy)


def session_of(key: ApiKey, until: int) -> str:
    """What a browser may keep instead of a token, up to Unix time ``until``: it leads back to neither token nor digest."""
    return f"{key.id}.{until}.{_signature(key, until)}"


def read_session(session: str) -> tuple[str, int] | None:
    """The key's id and the end that a session claims; None where it cannot be one."""
    found = _SESSION.fullmatch(session)
    return None if found is None else (found[1], int(found[2]))


def holds(session: str, key: ApiKey) -> bool:
    """Whether a session was made from this key."""
    claimed = read_session(session)
    return claimed is not None and hmac.compare_digest(session, session_of(key, claimed[1]))


def _signature(key: ApiKey, until: int) -> str:
    return hmac.new(bytes.fromhex(key.digest), f"session {key.id} {until}".encode(), "sha256").hexdigest()


def key_name(text: str) -> str:
    """A name for a key.

    Raises ``TaskInvalid``.
    """
    if not re.fullmatch(NAME, text):
        raise TaskInvalid("the name cannot be used", field="name", remedy="use letters, digits and . _ @ -, at most 64 characters")
    return text


def read_scopes(words: Sequence[str]) -> frozenset[Scope]:
    """Scopes by name.

    Raises ``TaskInvalid``.
    """
    known = {scope.value for scope in Scope}
    if not words or not set(words) <= known:
        raise TaskInvalid("a key needs known scopes", field="scope", remedy=f"give --scope once for each of: {', '.join(Scope)}")
    return frozenset(Scope(word) for word in words)


def read_rate(text: str) -> Rate:
    """``10/s``, ``600/min``.

    Raises ``TaskInvalid``.
    """
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise TaskInvalid("the rate cannot be read", field="rate", remedy="write requests per time, e.g. 10/s, 600/min or 5000/h")
    return Rate(int(found[1]), _SECONDS[found[2]])


def read_budget(text: str) -> Budget:
    """``50/day``, ``0.5/hour``.

    Raises ``TaskInvalid``.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None or float(found[1]) == 0:
        remedy = "write USD per time, e.g. 50/day, 2.5/hour, 200/week or 1000/month"
        raise TaskInvalid("the budget cannot be read", field="budget_usd", remedy=remedy)
    return Budget(float(found[1]), {"h": "hour", "d": "day", "w": "week"}.get(found[2], found[2]))


def read_span(text: str) -> float:
    """``90d``, ``12h`` in seconds.

    Raises ``TaskInvalid``.
    """
    found = _SPAN.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise TaskInvalid("the time until expiry cannot be read", field="expires", remedy="write e.g. 90d, 12h, 30min or 4w")
    return float(int(found[1]) * _SECONDS[found[2]])


def window(period: str, at: float) -> tuple[int, int]:
    """The period around Unix time ``at``: its first second and that of the next one."""
    if period == "month":
        day = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = day.replace(year=day.year + 1, month=1) if day.month == 12 else day.replace(month=day.month + 1)
        return int(day.timestamp()), int(following.timestamp())
    length = _SECONDS[period]
    offset = 4 * 86_400 if period == "week" else 0  # 1 January 1970 was a Thursday
    start = int((at - offset) // length) * length + offset
    return start, start + length

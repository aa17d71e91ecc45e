"""API keys and what they have drawn of their budgets, as rows."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from router.domain.keys import ApiKey, Budget, Rate, Scope
from router.storage.drawing import take
from router.storage.tables import api_keys, key_spend


def read_keys(connection: Connection) -> list[ApiKey]:
    """Every key, the oldest first."""
    return [_key(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))]


def add_key(connection: Connection, key: ApiKey) -> None:
    """Keep a new key."""
    connection.execute(
        insert(api_keys),
        {
            "id": key.id,
            "name": key.name,
            "prefix": key.prefix,
            "digest": key.digest,
            "scopes": ",".join(sorted(key.scopes)),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
            "rate_count": key.rate.count if key.rate else None,
            "rate_period_s": key.rate.period_s if key.rate else None,
            "budget_usd": key.budget.usd if key.budget else None,
            "budget_period": key.budget.period if key.budget else None,
        },
    )


def revoke(connection: Connection, key_id: str, at: float) -> None:
    """Revoke a key; the first time counts."""
    connection.execute(update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at))


def draw(connection: Connection, key_id: str, start: int, *, at_least: int, wanted: int, limit: int) -> int:
    """Take ``wanted`` billionths of a dollar of a budget, or what is left where that is ``at_least``, or nothing."""
    own = {"key_id": key_id, "start": start}
    return take(connection, key_spend.c.drawn_nano_usd, own, at_least=at_least, wanted=wanted, limit=limit)


def change_drawn(connection: Connection, key_id: str, start: int, nano_usd: int) -> None:
    """Add to what was drawn, or (below zero) put back what was not spent."""
    own = (key_spend.c.key_id == key_id, key_spend.c.start == start)
    connection.execute(update(key_spend).where(*own).values(drawn_nano_usd=key_spend.c.drawn_nano_usd + nano_usd))


def read_drawn(connection: Connection) -> dict[tuple[str, int], int]:
    """Billionths of a dollar by key and first second of the period."""
    return {(row.key_id, row.start): row.drawn_nano_usd for row in connection.execute(select(key_spend))}


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        digest=row.digest,
        scopes=frozenset(Scope(scope) for scope in row.scopes.split(",")),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        rate=None if row.rate_count is None else Rate(row.rate_count, row.rate_period_s),
        budget=None if row.budget_usd is None else Budget(row.budget_usd, row.budget_period),
    )

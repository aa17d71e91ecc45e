"""Regimes as rows: the catalogue compressed, because most of it stays the same from one to the next."""

import zlib
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Row, bindparam, select

from router.domain.events import Regime, RegimeEvent
from router.domain.models import Model
from router.storage.tables import regimes

_first: BindParameter[int] = bindparam("first")
_end: BindParameter[int] = bindparam("end")
_seq: BindParameter[int] = bindparam("upto")
_catalog: BindParameter[str] = bindparam("catalog")
_policy: BindParameter[str] = bindparam("policy")

REGIME_EVENTS = select(regimes).where(regimes.c.seq >= _first, regimes.c.seq < _end)
REGIME_AT = select(regimes).where(regimes.c.seq <= _seq).order_by(regimes.c.seq.desc()).limit(1)
REGIME_OF = (
    select(regimes)
    .where(regimes.c.catalog_version == _catalog, regimes.c.policy_version == _policy)
    .order_by(regimes.c.seq.desc())
    .limit(1)
)

_encode = msgspec.json.Encoder(order="deterministic").encode
_read_policy = msgspec.json.Decoder(dict[str, Any]).decode
_read_models = msgspec.json.Decoder(tuple[Model, ...]).decode


def regime_row(seq: int, regime: Regime) -> dict[str, Any]:
    """The row of a regime."""
    return {
        "seq": seq,
        "at": regime.at,
        "catalog_version": regime.catalog_version,
        "policy_version": regime.policy_version,
        "policy": _encode(regime.policy).decode(),
        "models": zlib.compress(_encode(regime.models)),
    }


def read_regime(row: Row[Any]) -> Regime:
    """A regime from its row."""
    return Regime(row.catalog_version, row.policy_version, _read_policy(row.policy), _read_models(zlib.decompress(row.models)), row.at)


def read_regime_event(row: Row[Any]) -> RegimeEvent:
    """What the fold reads of it."""
    return RegimeEvent(row.seq, read_regime(row))

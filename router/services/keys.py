"""Who may do what, how fast, and for how much: API keys as the service enforces them."""

import asyncio
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from router.domain.hosts import names_loopback
from router.domain.keys import (
    NANO_USD,
    ApiKey,
    Budget,
    Rate,
    Scope,
    check_caller,
    check_first,
    check_last,
    digest_of,
    holds,
    key_name,
    new_token,
    prefix_of,
    read_session,
    session_of,
    window,
)
from router.errors import (
    BudgetExhausted,
    HostForeign,
    KeyConflict,
    KeyMissing,
    KeyNotFound,
    RateExceeded,
    ScopeMissing,
    StorageUnavailable,
)
from router.ports import KeyStore

MAX_AGE_S = 2.0
"""A key that was revoked or made elsewhere is known after this long."""
SESSION_S = 12 * 3_600
_SHARE_DRAWN = 100
"""A service draws a hundredth of a budget at a time: so much is lost at most where it is killed."""

log = structlog.get_logger("keys")


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for one call; ``settle`` it once."""

    key_id: str | None
    start: int
    """Of the budget's period."""
    nano_usd: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float

    def take(self, rate: Rate, now: float) -> float:
        """0 where a request may pass, else the seconds until one may."""
        self.tokens = min(rate.count, self.tokens + max(0.0, now - self.at) * rate.count / rate.period_s)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) * rate.period_s / rate.count


@dataclass(slots=True)
class _Account:
    """One key's budget in one period, as far as this process holds it."""

    drawn: int = 0
    used: int = 0
    """Spent or reserved."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeyService:
    """Keeps the keys for at most ``MAX_AGE_S``, a bucket per key, and what is left of its budget.

    Rates hold for this process; budgets for every process on the database, since each draws its part from there before it spends.
    ``stale_s``: for so long the keys that were read last go on to hold where the database does not answer.
    ``loopback``: while no key was ever made, anyone who reaches the service by a name of this machine may use it.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        new_id: Callable[[str], str],
        loopback: bool,
        stale_s: float = 0.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._loopback = loopback
        self._stale_s = stale_s
        self._keys: dict[str, ApiKey] = {}
        self._by_id: dict[str, ApiKey] = {}
        self._read_at = -math.inf
        self._look_at = -math.inf
        """Not before this."""
        self._reading = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._accounts: dict[tuple[str, int], _Account] = {}

    async def admit(self, token: str | None, scopes: frozenset[Scope], *, host: str | None = None) -> str | None:
        """The id of the key that a request came with; None where none is needed. Any of ``scopes`` will do. ``host``: as it says.

        Raises ``KeyMissing``, ``ScopeMissing``, ``RateExceeded``, ``HostForeign``, ``StorageUnavailable``.
        """
        if (now := self._monotonic()) - self._read_at > MAX_AGE_S and now >= self._look_at:
            await self._refresh()
        if not self._keys and self._loopback:
            _for_this_machine(host)
            return None
        return self._pass(self._owner(token), scopes)

    async def open_session(self, token: str | None, scopes: frozenset[Scope]) -> str | None:
        """What a browser keeps for ``SESSION_S`` instead of the token; None where no key is needed. Revoked with the key.

        Raises as ``admit`` does.
        """
        if await self.admit(token, scopes) is None:
            return None
        return session_of(self._owner(token), int(self._clock() + SESSION_S))

    async def admit_session(self, session: str | None, scopes: frozenset[Scope], *, host: str | None = None) -> str | None:
        """``admit`` for a session.

        Raises as ``admit`` does.
        """
        if self._monotonic() - self._read_at > MAX_AGE_S:
            await self._refresh()
        if not self._keys and self._loopback:
            _for_this_machine(host)
            return None
        claimed = read_session(session) if session is not None else None
        key = self._by_id.get(claimed[0]) if claimed is not None else None
        if session is None or claimed is None or key is None or not holds(session, key):
            raise KeyMissing("no session", field="key", remedy="sign in with an API key that may read")
        now = self._clock()
        if now >= claimed[1] or not key.usable(now):
            raise KeyMissing("the session has ended", field="key", remedy="sign in again")
        return self._pass(key, scopes)

    def _pass(self, key: ApiKey, scopes: frozenset[Scope]) -> str:
        if not scopes & key.scopes:
            raise ScopeMissing(
                "the API key may not do this",
                field="Authorization",
                remedy=f"use a key with the scope {' or '.join(sorted(scopes))}: pointsman keys create NAME --scope {min(scopes)}",
            )
        if key.rate is not None:
            self._limit(key.id, key.rate)
        return key.id

    def budget_usd(self, key_id: str | None) -> float | None:
        """The key's budget for one period; None where what is spent with it is not counted."""
        key = self._by_id.get(key_id) if key_id is not None else None
        return None if key is None or key.budget is None else key.budget.usd

    async def reserve(self, key_id: str | None, usd: float) -> Reservation:
        """Set aside what a call may cost at most; settle it when the call has ended, whatever became of it.

        Raises ``BudgetExhausted``, ``StorageUnavailable``.
        """
        key = self._by_id.get(key_id) if key_id is not None else None
        if key is None or key.budget is None:
            return Reservation(None, 0, 0)
        start, _ = window(key.budget.period, self._clock())
        nano = _nano(usd)
        await self._set_aside(key.id, key.budget, start, nano)
        return Reservation(key.id, start, nano)

    async def enlarge(self, reservation: Reservation, usd: float) -> Reservation:
        """Set aside as much as another call may cost, where that is more; what is returned takes the reservation's place.

        Raises ``BudgetExhausted``, which leaves the reservation as it was, and ``StorageUnavailable``.
        """
        key = self._by_id.get(reservation.key_id) if reservation.key_id is not None else None
        more = _nano(usd) - reservation.nano_usd
        if key is None or key.budget is None or more <= 0:
            return reservation
        await self._set_aside(key.id, key.budget, reservation.start, more)
        return replace(reservation, nano_usd=reservation.nano_usd + more)

    async def _set_aside(self, key_id: str, budget: Budget, start: int, nano: int) -> None:
        account, limit = self._account(key_id, start), _nano(budget.usd)
        while account.used + nano > account.drawn:
            async with account.lock:
                missing = account.used + nano - account.drawn
                if missing <= 0:
                    continue
                drawn = await asyncio.to_thread(
                    self._store.draw_budget, key_id, start, at_least=missing, wanted=max(missing, limit // _SHARE_DRAWN), limit=limit
                )
                if not drawn:
                    _, end = window(budget.period, self._clock())
                    raise BudgetExhausted(
                        "the API key's budget does not cover this call",
                        field="Authorization",
                        remedy="wait for the next period, send a smaller request, or use a key with a larger budget",
                        retry_after_s=max(1.0, end - self._clock()),
                    )
                account.drawn += drawn
        account.used += nano  # nothing was awaited since the check

    def settle(self, reservation: Reservation, usd: float | None) -> None:
        """Replace a reservation by what the call cost; None, an unknown cost, keeps what was set aside."""
        if reservation.key_id is not None and usd is not None:
            self._account(reservation.key_id, reservation.start).used += _nano(usd) - reservation.nano_usd

    async def create(self, key: ApiKey) -> tuple[ApiKey, str]:
        """Keep a key made from ``key``'s name, scopes and limits, and return it with its token, which is not kept.

        Raises ``TaskInvalid``, ``KeyConflict``, ``StorageUnavailable``.
        """
        name, now = key_name(key.name), self._clock()
        if any(known.name == name and known.usable(now) for known in await self.known()):
            raise KeyConflict("a key with this name is in use", field="name", remedy="choose another name, or revoke that key first")
        token = new_token()
        digest = digest_of(token)
        if digest is None:
            raise AssertionError("a new token has the form of a token")
        made = ApiKey(
            self._new_id("key"), name, prefix_of(token), digest, key.scopes, now, key.expires_at, rate=key.rate, budget=key.budget
        )
        await asyncio.to_thread(self._store.save_key, made)
        await self._forget()
        return made, token

    async def create_for(self, caller: str | None, key: ApiKey) -> tuple[ApiKey, str]:
        """``create`` for a caller who was admitted by a key with this id, or by none where there was none.

        The first key must have the scope admin: from then on every call needs a key, and nobody could make another over HTTP.

        Raises ``KeyMissing`` where the first key was made since the caller was admitted, and as ``create``.
        """
        async with self._changing:
            known = await self.known()
            check_caller(caller, known)
            check_first(key, known)
            made, token = await self.create(key)
        log.info("keys.created", id=made.id, scopes=sorted(made.scopes), by=caller)
        return made, token

    async def revoke(self, id_or_name: str) -> ApiKey:
        """Revoke a key by its id, its prefix or its name; services know within ``MAX_AGE_S``.

        Raises ``KeyNotFound``, ``StorageUnavailable``.
        """
        found = [key for key in await self.known() if id_or_name in (key.id, key.name, key.prefix) and key.revoked_at is None]
        if len(found) != 1:
            raise KeyNotFound(
                "no key that is not revoked has this id or name" if not found else "several keys have this name",
                field="key",
                remedy="'pointsman keys list' shows the ids",
            )
        await asyncio.to_thread(self._store.revoke_key, found[0].id, self._clock())
        await self._forget()
        return found[0]

    async def revoke_for(self, caller: str | None, key_id: str) -> ApiKey:
        """Revoke a key by its id for a caller who was admitted by a key, and return it as it is then; once more changes nothing.

        Raises ``KeyNotFound``, ``TaskInvalid`` for the last usable key that can make others, ``KeyMissing`` as ``create_for``.
        """
        async with self._changing:
            now, known = self._clock(), await self.known()
            check_caller(caller, known)
            key = next((key for key in known if key.id == key_id), None)
            if key is None:
                raise _unknown()
            if key.revoked_at is not None:
                return key
            check_last(key, known, now)
            await asyncio.to_thread(self._store.revoke_key, key.id, now)
            await self._forget()
        log.info("keys.revoked", id=key.id, by=caller)
        return replace(key, revoked_at=now)

    async def known(self) -> list[ApiKey]:
        """Every key, as the database has it now."""
        return await asyncio.to_thread(self._store.keys)

    async def listed(self) -> list[tuple[ApiKey, float | None]]:
        """Every key, and what was drawn of its budget in this period, in USD; None where it has none.

        Raises ``StorageUnavailable``.
        """
        keys, drawn, now = await self.known(), await self.drawn_usd(), self._clock()
        return [(key, drawn.get((key.id, window(key.budget.period, now)[0]), 0.0) if key.budget is not None else None) for key in keys]

    async def found(self, key_id: str) -> tuple[ApiKey, float | None]:
        """One of them.

        Raises ``KeyNotFound``, ``StorageUnavailable``.
        """
        for key, drawn in await self.listed():
            if key.id == key_id:
                return key, drawn
        raise _unknown()

    async def drawn_usd(self) -> dict[tuple[str, int], float]:
        """What was spent, and what services hold to spend, by key id and start of the period."""
        return {place: nano / NANO_USD for place, nano in (await asyncio.to_thread(self._store.drawn_budgets)).items()}

    async def close(self) -> None:
        """Put back what was drawn and not spent; calls that have not ended count as spent. Where a call cost more, add that."""
        for (key_id, start), account in self._accounts.items():
            if account.drawn != account.used:
                await asyncio.to_thread(self._store.change_drawn, key_id, start, account.used - account.drawn)
        self._accounts.clear()

    async def _forget(self) -> None:
        """Have the next request read the keys anew, also where somebody reads them just now."""
        async with self._reading:
            self._read_at = -math.inf

    async def _refresh(self) -> None:
        async with self._reading:
            now = self._monotonic()
            if now - self._read_at <= MAX_AGE_S or now < self._look_at:
                return
            keys = await self._read()
            if keys is None:
                return
            if self._keys and not keys:
                raise StorageUnavailable("the API keys are gone from the database", remedy="restore the database, then restart the service")
            self._keys = {key.digest: key for key in keys}
            self._by_id = {key.id: key for key in keys}
            self._buckets = {key_id: bucket for key_id, bucket in self._buckets.items() if key_id in self._by_id}
            self._read_at = now  # from before the read: what was revoked during it is not missed for longer

    async def _read(self) -> list[ApiKey] | None:
        """The keys as they are now; None where those that are known must do."""
        if not self._stale_s or self._read_at == -math.inf:
            return await asyncio.to_thread(self._store.keys)
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._store.keys), MAX_AGE_S)
        except (StorageUnavailable, TimeoutError) as exc:
            if self._monotonic() - self._read_at > self._stale_s:
                raise StorageUnavailable("the API keys cannot be read", remedy="retry after a moment", retry_after_s=1.0) from exc
            self._look_at = self._monotonic() + 1.0
            return None

    def _owner(self, token: str | None) -> ApiKey:
        digest = digest_of(token) if token is not None else None
        key = self._keys.get(digest) if digest is not None else None
        # Who looks a digest up in a table tells by the time it takes at most something about digests, which do not lead to tokens.
        if digest is None or key is None or not hmac.compare_digest(key.digest, digest) or not key.usable(self._clock()):
            raise KeyMissing(
                "no valid API key came with the request",
                field="Authorization",
                remedy="send the header Authorization: Bearer KEY with a key that is neither expired nor revoked",
            )
        return key

    def _limit(self, key_id: str, rate: Rate) -> None:
        now = self._monotonic()
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = _Bucket(float(rate.count), now)
        wait_s = bucket.take(rate, now)
        if wait_s:
            raise RateExceeded(
                f"the API key is limited to {rate.count} requests per {rate.period_s} s",
                field="Authorization",
                remedy="retry after the time in Retry-After",
                retry_after_s=wait_s,
            )

    def _account(self, key_id: str, start: int) -> _Account:
        return self._accounts.setdefault((key_id, start), _Account())


def _for_this_machine(host: str | None) -> None:
    """Raises ``HostForeign``. A request without a Host comes from no browser."""
    if host is not None and not names_loopback(host):
        raise HostForeign(
            "without API keys the service answers only to names of its own machine",
            field="Host",
            remedy="address it as http://localhost or http://127.0.0.1, or make a key with 'pointsman keys create'",
        )


def _unknown() -> KeyNotFound:
    return KeyNotFound("no API key has this id", field="key_id", remedy="GET /v1/keys or 'pointsman keys list' shows the ids")


def _nano(usd: float) -> int:
    if not (math.isfinite(usd) and usd >= 0):
        raise ValueError("an amount of money is a finite number of at least 0")
    return math.ceil(usd * NANO_USD)

"""One circuit breaker per model, and the budget that bounds retries. Pure: the caller gives the time."""

import random
from collections import deque
from dataclasses import dataclass, field

FAILURES_IN_A_ROW = 5
WINDOW = 20
"""Latest calls among which the share of failures is looked at."""
FIRST_REST_S = 1.0
LONGEST_REST_S = 8.0
"""Bounds the time from a recovery to the probe that notices it."""


@dataclass(slots=True)
class _Circuit:
    results: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=WINDOW))
    in_a_row: int = 0
    open_until: float | None = None
    """None: closed."""
    rest_s: float = FIRST_REST_S
    probing: bool = False


class Breakers:
    """Circuits by model. Closed: every call passes; open: none; after the rest one probe, which decides."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._circuits: dict[str, _Circuit] = {}

    def resting(self, now: float) -> dict[str, float]:
        """Models that take no call now, with the seconds until they may; 0 while a probe is under way."""
        found: dict[str, float] = {}
        for model, circuit in self._circuits.items():
            if circuit.open_until is not None and (circuit.probing or now < circuit.open_until):
                found[model] = max(circuit.open_until - now, 0.0)
        return found

    def admit(self, model: str, now: float) -> bool:
        """Whether a call may start; of an open circuit whose rest is over it is the probe."""
        circuit = self._circuits.get(model)
        if circuit is None or circuit.open_until is None:
            return True
        if circuit.probing or now < circuit.open_until:
            return False
        circuit.probing = True
        return True

    def probing(self, model: str) -> bool:
        """Whether the call of a model that is under way decides about its circuit."""
        circuit = self._circuits.get(model)
        return circuit is not None and circuit.probing

    def succeeded(self, model: str) -> None:
        """Note a call that was answered; a probe closes the circuit."""
        circuit = self._circuits.get(model)
        if circuit is None:
            return
        if circuit.open_until is not None:
            if circuit.probing:
                del self._circuits[model]
            return  # a straggler from before the circuit opened says nothing about now
        circuit.results.append(True)
        circuit.in_a_row = 0

    def failed(self, model: str, now: float, *, lasting: bool = False) -> bool:
        """Note a failure, at once decisive where it is ``lasting``; True where it opens the circuit."""
        circuit = self._circuits.setdefault(model, _Circuit())
        if circuit.open_until is not None:
            if circuit.probing:
                circuit.probing = False
                circuit.rest_s = min(circuit.rest_s * 2, LONGEST_REST_S)
                circuit.open_until = now + self._jittered(circuit.rest_s)
            return False
        circuit.results.append(False)
        circuit.in_a_row += 1
        failures = circuit.results.count(False)
        often = failures >= FAILURES_IN_A_ROW and 2 * failures >= len(circuit.results)
        if not (lasting or often or circuit.in_a_row >= FAILURES_IN_A_ROW):
            return False
        circuit.open_until = now + self._jittered(circuit.rest_s)
        return True

    def left(self, model: str) -> None:
        """Note a call that says nothing about the model; where it was the probe, the next call is."""
        circuit = self._circuits.get(model)
        if circuit is not None:
            circuit.probing = False

    def _jittered(self, rest_s: float) -> float:
        return rest_s * self._rng.uniform(0.9, 1.0)


class RetryBudget:
    """Lets further attempts be a share of the requests, beyond a reserve, so that an outage does not multiply the load."""

    def __init__(self, share: float, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve
        self._left = reserve

    def request(self) -> None:
        """A request came in."""
        self._left = min(self._left + self._share, self._reserve)

    def spend(self) -> bool:
        """Whether one more attempt may be made."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

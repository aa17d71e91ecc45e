"""A provider that ships with the product: no network, no waiting, outcomes drawn from a table of published aggregates.

What happens to (seed, task number, model) is fixed, whatever else was asked before, so that policies can be compared on the same
world and a demo can be repeated. Time is virtual: latencies are reported, not waited for.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any

import numpy as np

from adapters.errors import ProviderDown, ProviderTimeout, RequestRejected
from adapters.types import Completion, CompletionRequest, FinishReason, Usage

_RATE_BOUNDS = (0.001, 0.999)


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """How a model answers: seconds = intercept + per token, times a log-normal residual; and how long-winded it is."""

    id: str
    intercept_s: float
    s_per_output_token: float
    log_residual_sd: float
    verbosity: float


@dataclass(frozen=True, slots=True)
class ScriptedTask:
    """How answers of a task type are scored and how long they are."""

    name: str
    concentration: float | None
    """Of the beta distribution of graded scores; None: right or wrong."""
    median_output_tokens: float
    log_output_sd: float
    rates: Mapping[str, float]
    """Mean quality per model."""
    sources: Mapping[str, str]
    """Where each rate comes from: a key of the table's sources, or ``assumed``."""


@dataclass(frozen=True, slots=True)
class ScriptedOutcome:
    """What one model does with one task."""

    quality: float
    """In [0, 1]: what a perfect judge would say."""
    output_tokens: int
    latency_s: float
    ttft_s: float
    failed: bool
    """The provider does not answer."""


@dataclass(frozen=True, slots=True)
class Table:
    """The parsed data file."""

    models: Mapping[str, ScriptedModel]
    tasks: Mapping[str, ScriptedTask]
    shared_difficulty: float
    """Correlation of two models' success on one task, on the normal scale."""
    sources: Mapping[str, str]


@cache
def shipped_table() -> Table:
    """The table that ships, with its sources."""
    return parse_table(tomllib.loads(files("adapters").joinpath("scripted_world.toml").read_text(encoding="utf-8")))


def parse_table(raw: Mapping[str, Any]) -> Table:
    """Read a world from the shape of the shipped file."""
    models = {
        entry["id"]: ScriptedModel(
            entry["id"],
            float(entry["latency"]["intercept_s"]),
            float(entry["latency"]["s_per_output_token"]),
            float(entry["latency"]["log_residual_sd"]),
            float(entry["verbosity"]["factor"]),
        )
        for entry in raw["models"]
    }
    tasks = {
        entry["name"]: ScriptedTask(
            entry["name"],
            float(entry["concentration"]) if entry["score"] == "graded" else None,
            float(entry["output_tokens"]["median"]),
            float(entry["output_tokens"]["log_sd"]),
            {model: float(cell["rate"]) for model, cell in entry["rates"].items()},
            {model: str(cell["source"]) for model, cell in entry["rates"].items()},
        )
        for entry in raw["tasks"]
    }
    return Table(models, tasks, float(raw["shared_difficulty"]), raw["sources"])


@dataclass(slots=True)
class ScriptedWorld:
    """The truth behind the scripted provider. ``degrade`` and ``fail`` change it from the next draw on."""

    seed: int
    table: Table = field(default_factory=shipped_table)
    _shifts: dict[tuple[str, str | None], float] = field(default_factory=dict)
    _failure_rates: dict[str, float] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of the scripted models, in order; all are in the shipped catalogue."""
        return tuple(sorted(self.table.models))

    def rate(self, model: str, task_type: str) -> float:
        """Mean quality of a model on a task type now. A task type without a row has the model's mean over all that have one.

        Raises ``RequestRejected`` where the model is not scripted or cannot do the task type.
        """
        if model not in self.table.models:
            raise RequestRejected("the scripted provider does not know that model", model=model)
        task = self.table.tasks.get(task_type)
        if task is None:
            rates = [row.rates[model] for row in self.table.tasks.values() if model in row.rates]
            base = math.fsum(rates) / len(rates)
        elif model in task.rates:
            base = task.rates[model]
        else:
            raise RequestRejected(f"{model} has no scripted answers to {task.name} tasks", model=model)
        shift = self._shifts.get((model, None), 0.0) + self._shifts.get((model, task_type), 0.0)
        return min(max(base + shift, _RATE_BOUNDS[0]), _RATE_BOUNDS[1])

    def draw(self, task: int, model: str, task_type: str) -> ScriptedOutcome:
        """What the model does with task number ``task``: always the same while the world is not changed.

        Raises ``RequestRejected``.
        """
        from scipy.special import ndtr  # here, and below: the service knows this adapter, and starts sooner without scipy

        rate = self.rate(model, task_type)
        facts, row = self.table.models[model], self.table.tasks.get(task_type)
        shared = self._normals("task", task, size=2)
        own = self._normals(model, task, size=4)
        rho = self.table.shared_difficulty
        ease = math.sqrt(rho) * shared[0] + math.sqrt(1.0 - rho) * own[0]
        quality = _score(float(ndtr(ease)), rate, row.concentration if row else None)
        median, log_sd = (row.median_output_tokens, row.log_output_sd) if row else (150.0, 0.6)
        length = math.sqrt(0.5) * (shared[1] + own[1])
        tokens = max(1, round(median * facts.verbosity * math.exp(log_sd * length)))
        residual = math.exp(facts.log_residual_sd * own[2])
        latency = (facts.intercept_s + facts.s_per_output_token * tokens) * residual
        failed = float(ndtr(own[3])) < self._failure_rates.get(model, 0.0)
        return ScriptedOutcome(quality, tokens, latency, facts.intercept_s * residual, failed)

    def quality(self, task: int, model: str, task_type: str) -> float:
        """The truth a judge would find, in [0, 1]; the adapter's answers never carry it."""
        return self.draw(task, model, task_type).quality

    def degrade(self, model: str, task_type: str | None = None, delta: float = 0.3) -> None:
        """Lower a model's mean quality by ``delta`` (raise it, where negative), on one task type or on all; zero undoes it."""
        if model not in self.table.models:
            raise RequestRejected("the scripted provider does not know that model", model=model)
        self._shifts[model, task_type] = -delta

    def fail(self, model: str, rate: float) -> None:
        """Let a share of a model's calls fail as an outage would; zero undoes it."""
        if model not in self.table.models:
            raise RequestRejected("the scripted provider does not know that model", model=model)
        self._failure_rates[model] = rate

    def _normals(self, name: str, task: int, size: int) -> tuple[float, ...]:
        """Standard normals fixed by (seed, name, task), shape (size,)."""
        from scipy.special import ndtri

        digest = blake2b(f"{self.seed}|{name}|{task}".encode(), digest_size=8 * size).digest()
        uniform = (np.frombuffer(digest, dtype="<u8").astype(np.float64) + 0.5) / 2.0**64
        return tuple(ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12)).tolist())


def _score(ease: float, rate: float, concentration: float | None) -> float:
    """Turn a uniform number (small: hard for this model) into a score whose mean is the rate."""
    if concentration is None:
        return 1.0 if ease > 1.0 - rate else 0.0
    from scipy.special import betaincinv

    return float(betaincinv(rate * concentration, (1.0 - rate) * concentration, ease))


class ScriptedAdapter:
    """Answers from a ``ScriptedWorld``. The request's metadata names the task's number and type."""

    def __init__(self, world: ScriptedWorld | None = None, *, seed: int = 0) -> None:
        self.world = world or ScriptedWorld(seed)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Answer at once, reporting the latency the model would have had.

        Raises ``RequestRejected``, ``ProviderDown`` or ``ProviderTimeout``.
        """
        outcome = self.world.draw(task_number(request), request.model, request.metadata.get("task_type", ""))
        if outcome.failed:
            raise ProviderDown("scripted outage", model=request.model, status=503)
        facts = self.world.table.models[request.model]
        tokens, latency, reason = outcome.output_tokens, outcome.latency_s, FinishReason.STOP
        if request.max_output_tokens is not None and tokens > request.max_output_tokens:
            tokens, reason = request.max_output_tokens, FinishReason.LENGTH
            latency = outcome.ttft_s * (1.0 + facts.s_per_output_token * tokens / facts.intercept_s)
        if request.timeout_s is not None and latency > request.timeout_s:
            raise ProviderTimeout(f"no answer within {request.timeout_s:g} s", model=request.model)
        read = sum(len(message.text) for message in request.messages)
        return Completion(
            model=request.model,
            text=f"[scripted answer of {request.model}]",
            usage=Usage(input_tokens=max(1, round(read / 4)), output_tokens=tokens),
            finish_reason=reason,
            latency_s=latency,
            ttft_s=outcome.ttft_s,
        )

    async def close(self) -> None:
        """Nothing is held open."""


def task_number(request: CompletionRequest) -> int:
    """The number under which the world draws a request: the metadata's ``task``, else one fixed by the messages.

    Raises ``RequestRejected``.
    """
    given = request.metadata.get("task")
    if given is None:
        text = "\x00".join(f"{message.role}\x01{message.text}" for message in request.messages)
        return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=6).digest(), "little")
    if not given.isdecimal():
        raise RequestRejected("metadata 'task' must be a whole number; leave it out to draw by the messages", model=request.model)
    return int(given)

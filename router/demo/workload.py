"""What is asked, and what each model would make of it: from the scripted world, or from a table of recorded outcomes."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from adapters.scripted import ScriptedWorld
from router.domain.models import Price
from router.domain.outcome_table import OutcomeTable

FAILURE_RATE = 0.01
"""Of every scripted model's calls."""
TABLE_PROVIDER = "table"

MIX: Mapping[str, tuple[float, float, float]] = {
    "code_generation": (9, 900, 0.7), "code_review": (5, 2_500, 0.7), "bug_detection": (4, 2_000, 0.7), "refactoring": (3, 2_200, 0.7),
    "math_reasoning": (5, 250, 0.4), "symbolic_reasoning": (2, 350, 0.4), "constraint_solving": (2, 500, 0.4),
    "formal_verification": (1, 1_200, 0.6), "documentation": (5, 1_800, 0.7), "summarization": (8, 5_000, 0.8),
    "creative_writing": (4, 300, 0.6), "style_transfer": (3, 600, 0.6), "literature_review": (2, 14_000, 0.6),
    "data_extraction": (7, 2_200, 0.8), "synthesis": (3, 7_000, 0.6), "critical_analysis": (3, 4_000, 0.6),
    "classification": (12, 180, 0.5), "sentiment": (6, 90, 0.5), "entity_extraction": (6, 400, 0.6), "quick_qa": (12, 120, 0.6),
    "multimodal": (3, 900, 0.3),
}  # fmt: skip
"""Per task type: share of the traffic, median and log-spread of the input tokens. Chosen by hand: many small tasks, few large ones."""


@dataclass(frozen=True, slots=True)
class Job:
    """One task to route."""

    number: int
    task_type: str
    context_tokens: int
    body: dict[str, Any]
    """Of ``POST /v1/route``."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What one model does with one task."""

    quality: float
    cost_usd: float | None
    latency_s: float | None
    ttft_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    failed: bool = False


class Workload(Protocol):
    """Jobs, the models they go to, and the truth."""

    @property
    def jobs(self) -> Sequence[Job]: ...

    @property
    def models(self) -> Sequence[str]:
        """Ids, as the service knows them."""
        ...

    def what_if(self, job: Job) -> Mapping[str, Happened]:
        """What each model that can do the job would make of it, as the world is now."""
        ...

    def truth(self, model: str, task_type: str) -> float | None:
        """Mean quality of a model on a task type now; None where it cannot do it."""
        ...

    def score(self, job: Job, happened: Happened) -> Mapping[str, Any]:
        """What a caller says of the answer: ``score`` or ``verdict``."""
        ...


class ScriptedWorkload:
    """The mix above on the models of the scripted world. ``prices`` are the catalogue's, and follow its changes."""

    def __init__(self, requests: int, seed: int, prices: Mapping[str, Price], windows: Mapping[str, int]) -> None:
        self.world = ScriptedWorld(seed)
        self._windows = windows
        self.models: tuple[str, ...] = tuple(model for model in self.world.models if model in prices)
        self.prices = dict(prices)
        for model in self.models:
            self.world.fail(model, FAILURE_RATE)
        rng = random.Random(f"jobs-{seed}")
        drawn = rng.choices(list(MIX), [weight for weight, _, _ in MIX.values()], k=requests)
        self.jobs = [self._job(number, task_type, rng) for number, task_type in enumerate(drawn)]

    @staticmethod
    def _job(number: int, task_type: str, rng: random.Random) -> Job:
        _, median, spread = MIX[task_type]
        tokens = max(10, round(median * math.exp(rng.gauss(0.0, spread))))
        body: dict[str, Any] = {"task_type": task_type, "context_tokens": tokens}
        if task_type == "multimodal":
            body["modalities"] = ["text", "image"]
        return Job(number, task_type, tokens, body)

    def what_if(self, job: Job) -> Mapping[str, Happened]:
        able = self.world.table.tasks[job.task_type].rates
        return {model: self._call(job, model) for model in self.models if model in able and job.context_tokens < self._windows[model]}

    def _call(self, job: Job, model: str) -> Happened:
        drawn = self.world.draw(job.number, model, job.task_type)
        if drawn.failed:
            return Happened(0.0, 0.0, None, failed=True)
        price = self.prices[model]
        cost = (job.context_tokens * price.input_usd_per_mtok + drawn.output_tokens * price.output_usd_per_mtok) / 1e6
        return Happened(drawn.quality, cost, drawn.latency_s, drawn.ttft_s, job.context_tokens, drawn.output_tokens)

    def truth(self, model: str, task_type: str) -> float | None:
        if model not in self.models or model not in self.world.table.tasks[task_type].rates:
            return None
        return self.world.rate(model, task_type)

    def score(self, job: Job, happened: Happened) -> Mapping[str, Any]:
        right_or_wrong = self.world.table.tasks[job.task_type].concentration is None
        if right_or_wrong and job.number % 2:
            return {"verdict": "good" if happened.quality == 1.0 else "bad"}
        return {"score": happened.quality}


class TableWorkload:
    """The prompts of a table in a seeded order; repeated rows of a cell are drawn in turn."""

    def __init__(self, table: OutcomeTable, requests: int | None, seed: int) -> None:
        self._table = table
        self.models: tuple[str, ...] = tuple(f"{TABLE_PROVIDER}/{_word(name, 200)}" for name in table.models)
        self._types = {name: _word(name, 128) for name in set(table.task_types)}
        most = table.count.max(axis=1)
        visits = [(p, v) for v in range(int(most.max())) for p in np.flatnonzero(most > v).tolist()]
        random.Random(f"order-{seed}").shuffle(visits)
        self._visits = visits[:requests]
        self.jobs = [self._job(i, prompt) for i, (prompt, _) in enumerate(self._visits)]
        self._means = self._truth()

    def _job(self, number: int, prompt: int) -> Job:
        table = self._table
        tokens = int(table.context_tokens[prompt])
        task_type = self._types[table.task_types[prompt]]
        body: dict[str, Any] = {"task_type": task_type, "context_tokens": tokens}
        offered = table.count[prompt] > 0
        if not offered.all():
            body["constraints"] = {"models": [self.models[m] for m in np.flatnonzero(offered).tolist()]}
        return Job(number, task_type, tokens, body)

    def additions(self) -> list[dict[str, Any]]:
        """The table's models as bodies of ``POST /v1/models``: a price only where the table's costs state one."""
        table = self._table
        seen = int(np.nanmax(np.append(table.output_tokens, 1.0)))
        window = 2 * (int(table.context_tokens.max()) + seen)
        bodies: list[dict[str, Any]] = []
        for model, (paid_in, paid_out) in zip(self.models, table.list_prices().tolist(), strict=True):
            body: dict[str, Any] = {"id": model, "context_window": window, "source": "the table that the demo was given"}
            if not (math.isnan(paid_in) or math.isnan(paid_out)):
                price = {"input_usd_per_mtok": paid_in * 1e6, "output_usd_per_mtok": paid_out * 1e6}
                body["price"] = {**price, "source": "fitted to the table's costs and tokens"}
            bodies.append(body)
        return bodies

    def what_if(self, job: Job) -> Mapping[str, Happened]:
        prompt, visit = self._visits[job.number]
        table = self._table
        found: dict[str, Happened] = {}
        for m in np.flatnonzero(table.count[prompt]).tolist():
            row = int(table.order[table.first[prompt, m] + visit % table.count[prompt, m]])
            found[self.models[m]] = Happened(
                float(table.quality[row]),
                _known(table.cost_usd[row]),
                _known(table.latency_s[row]),
                input_tokens=_whole(table.input_tokens[row]),
                output_tokens=_whole(table.output_tokens[row]),
            )
        return found

    def truth(self, model: str, task_type: str) -> float | None:
        return self._means.get((model, task_type))

    def score(self, job: Job, happened: Happened) -> Mapping[str, Any]:
        del job
        return {"score": happened.quality}

    def _truth(self) -> dict[tuple[str, str], float]:
        """The whole table's mean quality by (model, task type): over its rows, whatever was asked."""
        table = self._table
        means: dict[tuple[str, str], float] = {}
        types = np.array([self._types[name] for name in table.task_types], dtype=object)
        cell = np.repeat(np.arange(table.count.size), table.count.ravel())
        total = np.bincount(cell, table.quality[table.order], minlength=table.count.size).reshape(table.count.shape)
        for task_type in set(self._types.values()):
            inside = types == task_type
            rows, sums = table.count[inside].sum(axis=0), total[inside].sum(axis=0)
            means |= {(self.models[m], task_type): float(sums[m] / rows[m]) for m in np.flatnonzero(rows).tolist()}
        return means


def _word(name: str, longest: int) -> str:
    """A name as the API takes it."""
    return re.sub(r"[^A-Za-z0-9._:/@+-]+", "_", name).lstrip("._:/@+-")[: longest - len(TABLE_PROVIDER) - 1] or "unnamed"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else round(float(value))

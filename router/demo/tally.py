"""Counts what was routed, and beside it what every other choice would have given on the same tasks."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from router.demo.workload import Happened, Job
from router.domain.tasks import Weights

_RECENT = 60


@dataclass(frozen=True, slots=True)
class Worth:
    """Utility as the service reckons it."""

    weights: Weights
    cost_reference_usd: float
    latency_reference_s: float

    def of(self, quality: float, cost_usd: float | None, latency_s: float | None) -> float:
        """quality weighed against what is known of cost and latency."""
        weights = self.weights
        spent = weights.cost * (cost_usd or 0.0) / self.cost_reference_usd
        return weights.quality * quality - spent - weights.latency * (latency_s or 0.0) / self.latency_reference_s


@dataclass(slots=True)
class Sums:
    """Running sums of one choice."""

    n: int = 0
    quality: float = 0.0
    cost: float = 0.0
    priced: int = 0
    latency: float = 0.0
    timed: int = 0
    utility: float = 0.0

    def add(self, quality: float, cost_usd: float | None, latency_s: float | None, utility: float) -> None:
        """Count one call."""
        self.n += 1
        self.quality += quality
        self.utility += utility
        if cost_usd is not None:
            self.cost += cost_usd
            self.priced += 1
        if latency_s is not None:
            self.latency += latency_s
            self.timed += 1

    def merge(self, other: "Sums") -> "Sums":
        """Count another choice's calls too."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def means(self) -> dict[str, float | None]:
        """Per call; None where nothing is known."""
        return {
            "quality": self.quality / self.n if self.n else None,
            "cost_usd": self.cost / self.priced if self.priced else None,
            "latency_s": self.latency / self.timed if self.timed else None,
            "utility": self.utility / self.n if self.n else None,
        }


@dataclass(slots=True)
class Tally:
    """Everything that was observed. Guarded by the driver's lock."""

    worth: Worth
    routed: list[str] = field(default_factory=list)
    """Models in the order in which they were called."""
    total: Sums = field(default_factory=Sums)
    tail: deque[tuple[Happened, float]] = field(default_factory=deque)
    by_type: Counter[str] = field(default_factory=Counter)
    recent: dict[str, deque[str]] = field(default_factory=dict)
    """Per task type, the models of its latest calls."""
    random: Sums = field(default_factory=Sums)
    what_if: dict[tuple[int, str, str], Sums] = field(default_factory=dict)
    """By (half, task type, model)."""
    fallbacks: int = 0
    failures: int = 0

    def record(self, job: Job, half: int, model: str, happened: Mapping[str, Happened], *, tail: int) -> None:
        """Count one call, and what the others would have done."""
        cells, chosen, cost, priced, latency, timed, quality, utility = self.what_if, happened[model], 0.0, 0, 0.0, 0, 0.0, 0.0
        for name, one in happened.items():
            worth = self.worth.of(one.quality, one.cost_usd, one.latency_s)
            key = (half, job.task_type, name)
            if (cell := cells.get(key)) is None:
                cell = cells[key] = Sums()
            cell.add(one.quality, one.cost_usd, one.latency_s, worth)
            quality, utility = quality + one.quality, utility + worth
            if one.cost_usd is not None:
                cost, priced = cost + one.cost_usd, priced + 1
            if one.latency_s is not None:
                latency, timed = latency + one.latency_s, timed + 1
            if one is chosen:
                self.total.add(one.quality, one.cost_usd, one.latency_s, worth)
                self.tail.append((one, worth))
        n = len(happened)
        self.random.add(quality / n, cost / priced if priced else None, latency / timed if timed else None, utility / n)
        if len(self.tail) > tail:
            self.tail.popleft()
        self.routed.append(model)
        self.by_type[job.task_type] += 1
        self.recent.setdefault(job.task_type, deque(maxlen=_RECENT)).append(model)
        self.failures += chosen.failed

    def shares(self, start: int, end: int) -> dict[str, float]:
        """Traffic shares over a window of calls, the largest first."""
        window = self.routed[start:end]
        return {model: count / len(window) for model, count in Counter(window).most_common()}

    def leaders(self, task_type: str, most: int = 2) -> list[tuple[str, float]]:
        """The models that a task type's latest calls went to."""
        latest = self.recent.get(task_type, deque())
        return [(model, count / len(latest)) for model, count in Counter(latest).most_common(most)]

    def last(self) -> Sums:
        """The latest calls."""
        sums = Sums()
        for one, worth in self.tail:
            sums.add(one.quality, one.cost_usd, one.latency_s, worth)
        return sums

    def single(self, model: str) -> Sums:
        """All tasks on one model, as far as it can do them."""
        return merged(sums for (_, _, name), sums in self.what_if.items() if name == model)

    def by_half_and_type(self) -> dict[tuple[int, str], dict[str, Sums]]:
        """What each model would have given, by half and task type."""
        groups: dict[tuple[int, str], dict[str, Sums]] = {}
        for (half, task_type, model), sums in self.what_if.items():
            groups.setdefault((half, task_type), {})[model] = sums
        return groups


def merged(many: Iterable[Sums]) -> Sums:
    """One choice of several."""
    whole = Sums()
    for sums in many:
        whole.merge(sums)
    return whole

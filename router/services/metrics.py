"""What Prometheus reads: counts of what this process did, and gauges of how the service stands.

Every record is counted once, when it is durable. Labels come from a bounded vocabulary: a value beyond it is counted as ``other``.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from router.domain.decisions import Decision
from router.domain.events import Attempt, Feedback, Outcome, Status, Write
from router.domain.failures import spent_on
from router.domain.keys import ApiKey, window
from router.domain.spending import DayStanding

MOST_VALUES = 200
"""Distinct values of one label."""
OTHER, UNKNOWN = "other", "unknown"
_REMEMBERED = 20_000
"""Decisions whose outcome and scores are awaited; a later one counts under ``unknown``."""
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CALL_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)


M = TypeVar("M", Counter, Histogram)


class Part(Protocol):
    """Something that works beside requests."""

    @property
    def name(self) -> str: ...

    @property
    def failures(self) -> int: ...

    def troubled_for_s(self) -> float:
        """Seconds since it last worked, 0 while it does."""
        ...


@dataclass(frozen=True, slots=True)
class Readings:
    """How the service stands, read when Prometheus asks."""

    waiting: Callable[[], int]
    most_waiting: int
    lag: Callable[[], int]
    lag_s: Callable[[], float]
    seq: Callable[[], int]
    digest: Callable[[], str]
    leads: Callable[[], bool]
    tallied: Callable[[], int]
    incidents: Callable[[], int]
    resting: Callable[[], Iterable[str]]
    active_models: Callable[[], int]
    policy: str
    release: str
    day: Callable[[], DayStanding | None] = lambda: None
    """The day's budget; None where there is none."""
    allowances: Callable[[], Mapping[str, tuple[float, float]]] = dict
    """What this service holds of each of the day's allowances for exploring, and the whole of it."""
    text_counts: Callable[[], int] = lambda: 0
    """Task types where a task's text has proven its worth."""
    set_aside: Callable[[], Mapping[str, int]] = dict
    """Records that the fold leaves out, by kind."""
    parts: Callable[[], Iterable[Part]] = tuple
    """Those that work beside requests."""


@dataclass(slots=True)
class _Vocabulary:
    known: set[str] = field(default_factory=set)

    def __call__(self, value: str) -> str:
        if value in self.known:
            return value
        if len(self.known) >= MOST_VALUES:
            return OTHER
        self.known.add(value)
        return value


class _Children(Generic[M]):
    """The series of one metric by their labels: finding one in a dict costs a third of asking the library for it."""

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._found: dict[tuple[str, ...], M] = {}

    def __call__(self, *labels: str) -> M:
        child = self._found.get(labels)
        if child is None:
            child = self._found[labels] = self._metric.labels(*labels)
        return child


class Metrics:
    """Counts on the event loop. ``written`` and ``requested`` cost a few microseconds each."""

    def __init__(self, readings: Readings) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._standing = _Standing(readings)
        self._registry.register(self._standing)
        ProcessCollector(registry=self._registry)
        self._models, self._types, self._judges = _Vocabulary(), _Vocabulary(), _Vocabulary()
        self._decided: OrderedDict[str, str] = OrderedDict()
        self._requests = self._counter("http_requests", "Answered HTTP requests.", "route", "method", "status")
        self._took = self._histogram("http_request_duration_seconds", "Time to answer, streams included.", _REQUEST_S, "route", "method")
        self._decisions = self._counter(
            "decisions", "Decisions; kind is drawn, forced (not drawn by the policy) or fallback.", "model", "task_type", "kind"
        )
        self._attempts = self._counter("attempts", "Provider calls made by the service.", "model", "status")
        self._outcomes = self._counter("outcomes", "What became of decisions, by the model that served.", "model", "status")
        self._latency = self._histogram("call_latency_seconds", "Latency of answered calls.", _CALL_S, "model")
        self._first = self._histogram("call_first_token_seconds", "Time to the first token of answered calls.", _CALL_S, "model")
        self._cost = self._counter("cost_usd", "US dollars spent, as reported or computed when the call ended.", "model")
        self._unpriced = self._counter("cost_unknown", "Calls of unknown cost: answered, given up, or unreadable.", "model")
        self._tokens = self._counter("tokens", "Tokens of calls.", "model", "direction")
        self._scores = self._counter("scores", "Scores given, by judge.", "judge")
        self._scored = self._counter("scored", "Scores given, by the model that was decided for.", "model")
        self._points = self._counter("score_points", "Sum of those scores, each in [0, 1].", "model")

    def written(self, record: Write) -> None:
        """Count a record that was committed now."""
        match record:
            case Decision():
                model = self._models(record.model)
                kind = "fallback" if record.fallback else "forced" if record.forced else "drawn"
                self._decisions(model, self._types(record.task_type), kind).inc()
                self._remember(record.id, model)
            case Attempt():
                self._tried(record)
            case Outcome():
                self._ended(record)
            case Feedback():
                model = self._decided.get(record.decision_id, UNKNOWN)
                self._scores(self._judges(record.judge)).inc()
                self._scored(model).inc()
                self._points(model).inc(record.score)

    def _tried(self, attempt: Attempt) -> None:
        model = self._models(attempt.model)
        self._attempts(model, attempt.status.value).inc()
        if attempt.status is not Status.OK and spent_on(attempt) is None:
            self._unpriced(model).inc()
        if not attempt.last and attempt.cost_usd is not None:  # of the last one the outcome tells
            self._cost(model).inc(attempt.cost_usd)

    def _ended(self, outcome: Outcome) -> None:
        model = self._decided.get(outcome.decision_id, UNKNOWN) if outcome.model is None else self._models(outcome.model)
        self._remember(outcome.decision_id, model)  # scores are about the one that served
        self._outcomes(model, outcome.status.value).inc()
        if outcome.input_tokens:
            self._tokens(model, "input").inc(outcome.input_tokens)
        if outcome.output_tokens:
            self._tokens(model, "output").inc(outcome.output_tokens)
        if outcome.cost_usd is not None:
            self._cost(model).inc(outcome.cost_usd)
        if outcome.status is Status.OK:
            if outcome.cost_usd is None:
                self._unpriced(model).inc()
            if outcome.latency_s is not None:
                self._latency(model).observe(outcome.latency_s)
            if outcome.ttft_s is not None:
                self._first(model).observe(outcome.ttft_s)

    def _remember(self, decision_id: str, model: str) -> None:
        self._decided[decision_id] = model
        if len(self._decided) > _REMEMBERED:  # outcomes of decisions that another service took come here as well
            self._decided.popitem(last=False)

    def requested(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; ``route`` is the template, never the address itself."""
        self._requests(route, method, str(status)).inc()
        self._took(route, method).observe(seconds)

    def exposition(self, keys: Iterable[ApiKey], drawn_usd: Mapping[tuple[str, int], float], now: float) -> bytes:
        """Everything, in Prometheus' text format."""
        self._standing.budgets = {
            key.name: (drawn_usd.get((key.id, window(key.budget.period, now)[0]), 0.0), key.budget.usd)
            for key in keys
            if key.budget is not None and key.usable(now)
        }
        return generate_latest(self._registry)

    def _counter(self, name: str, about: str, *labels: str) -> _Children[Counter]:
        return _Children(Counter(f"pointsman_{name}", about, labels, registry=self._registry))

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> _Children[Histogram]:
        return _Children(Histogram(f"pointsman_{name}", about, labels, buckets=buckets, registry=self._registry))


class _Standing(Collector):
    """The gauges."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self.budgets: dict[str, tuple[float, float]] = {}

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        read = self._readings
        for name, about, value in (
            ("writer_queue_records", "Records accepted and not yet durable.", read.waiting()),
            ("writer_queue_limit_records", "Above this, callers get 503.", read.most_waiting),
            ("fold_lag_records", "Records of the log that are not learned yet.", read.lag()),
            ("fold_lag_seconds", "For how long the log has held records that are not learned yet.", read.lag_s()),
            (
                "state_digest",
                "First 48 bits of the learned state's digest: equal on every replica at an equal posterior_seq.",
                int(read.digest()[:12], 16),
            ),
            ("leads", "1 on the one service of those on a log that keeps the snapshots.", read.leads()),
            ("posterior_seq", "Log position up to which the log is learned.", read.seq()),
            ("tallied_seq", "Log position up to which the log is counted for reports.", read.tallied()),
            ("incidents_open", "Models that changed and have not settled.", read.incidents()),
            ("models_active", "Models that can be chosen.", read.active_models()),
            ("text_task_types", "Task types where what a task says has proven its worth and counts in decisions.", read.text_counts()),
        ):
            yield GaugeMetricFamily(f"pointsman_{name}", about, value)
        circuits = GaugeMetricFamily("pointsman_circuit_open", "1 for a model that failed repeatedly and rests.", labels=("model",))
        for model in read.resting():
            circuits.add_metric((model,), 1)
        yield circuits
        aside = GaugeMetricFamily("pointsman_set_aside_records", "Records that could never be learned and are left out.", labels=("kind",))
        for kind, many in read.set_aside().items():
            aside.add_metric((kind,), many)
        yield aside
        about = "For how long a part that works beside requests has failed; 0 while it works."
        failing = GaugeMetricFamily("pointsman_part_failing_seconds", about, labels=("part",))
        failures = CounterMetricFamily("pointsman_part_failures", "What failed in it; each is tried again.", labels=("part",))
        for part, seconds, count in _by_name(read.parts()):
            failing.add_metric((part,), seconds)
            failures.add_metric((part,), count)
        yield failing
        yield failures
        drawn = GaugeMetricFamily("pointsman_budget_drawn_usd", "Spent or held of a key's budget in this period.", labels=("key",))
        limit = GaugeMetricFamily("pointsman_budget_limit_usd", "A key's budget for one period.", labels=("key",))
        for name, (spent, most) in self.budgets.items():
            drawn.add_metric((name,), spent)
            limit.add_metric((name,), most)
        yield drawn
        yield limit
        held = GaugeMetricFamily("pointsman_allowance_held", "Held by this service of a day's allowance for exploring.", labels=("name",))
        whole = GaugeMetricFamily("pointsman_allowance_limit", "A day's allowance for exploring.", labels=("name",))
        for name, (left, most) in read.allowances().items():
            held.add_metric((name,), left)
            whole.add_metric((name,), most)
        yield held
        yield whole
        if (day := read.day()) is not None:
            for name, about, value in (
                ("day_budget_usd", "What the requests of a day (UTC) may cost.", day.budget_usd),
                ("day_spent_usd", "What those of today cost so far, of all services on the log.", day.spent_usd),
                ("day_expected_requests", "Requests that are expected until the day ends.", day.expected_requests),
                ("day_usd_per_request", "What each of them may cost on average.", day.usd_per_request),
            ):
                yield GaugeMetricFamily(f"pointsman_{name}", about, value)
        info = GaugeMetricFamily("pointsman_info", "What runs.", labels=("release", "policy"))
        info.add_metric((read.release, read.policy), 1)
        yield info


def _by_name(parts: Iterable[Part]) -> list[tuple[str, float, int]]:
    """Of the parts of one name: the longest trouble and all failures."""
    found: dict[str, tuple[float, int]] = {}
    for part in parts:
        seconds, count = found.get(part.name, (0.0, 0))
        found[part.name] = max(seconds, part.troubled_for_s()), count + part.failures
    return [(name, *told) for name, told in sorted(found.items())]

"""``pointsman evaluate`` and ``pointsman whatif``: what another policy, weights, prices or models would have meant, from the log."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.audit import opened
from router.cli.output import money, number, print_json, print_line, print_table, progress, share
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.domain.candidates import Candidate
    from router.domain.evaluation import Comparison, Value
    from router.services.evaluation import EvaluationService

Policy = Annotated[str | None, typer.Option(help="A registered policy, deciding from what was known at each decision.")]
Parameter = Annotated[list[str] | None, typer.Option(help="Of the policy, e.g. floor=0.1; may be repeated.")]
ModelId = Annotated[str | None, typer.Option("--model", help="This model for everything.")]
Rules = Annotated[Path | None, typer.Option(help="A YAML or JSON file with the model of each task type.")]
QualityWeight = Annotated[float | None, typer.Option(min=0, help="Of every request; the settings' weight where only another is given.")]
CostWeight = Annotated[float | None, typer.Option(min=0)]
LatencyWeight = Annotated[float | None, typer.Option(min=0)]
Price = Annotated[list[str] | None, typer.Option(help="MODEL=INPUT/OUTPUT in USD per million tokens; may be repeated.")]
Without = Annotated[list[str] | None, typer.Option(help="Drop this model; may be repeated.")]
Cap = Annotated[list[str] | None, typer.Option(help="MODEL=SHARE: at most this share of the traffic; may be repeated.")]
Last = Annotated[int, typer.Option(min=2, help="Drawn decisions to look at, from the end of the log.")]
TaskType = Annotated[str | None, typer.Option(help="Only decisions of this type.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def evaluate(
    policy: Policy = None,
    parameter: Parameter = None,
    model: ModelId = None,
    rules: Rules = None,
    quality_weight: QualityWeight = None,
    cost_weight: CostWeight = None,
    latency_weight: LatencyWeight = None,
    last: Last = 5_000,
    task_type: TaskType = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Is another policy better? Its value on the logged decisions, doubly robust with 95 % intervals, or why the log cannot tell."""
    from router.domain.recall import Scope

    given = _Given(policy, parameter, model, rules, (quality_weight, cost_weight, latency_weight))
    with _service(database_url) as (service, settings), progress("evaluate") as tell:
        made = service.evaluate(given.candidate(settings), Scope(last, task_type), tell)
    _told(made, as_json, ahead=False)


def whatif(
    quality_weight: QualityWeight = None,
    cost_weight: CostWeight = None,
    latency_weight: LatencyWeight = None,
    price: Price = None,
    without: Without = None,
    cap: Cap = None,
    policy: Policy = None,
    parameter: Parameter = None,
    model: ModelId = None,
    rules: Rules = None,
    last: Last = 5_000,
    task_type: TaskType = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Before a change is made: the traffic, quality, cost and latency to expect of as many decisions to come as are looked at."""
    from router.domain.recall import Scope

    given = _Given(policy, parameter, model, rules, (quality_weight, cost_weight, latency_weight), price, without, cap)
    with _service(database_url) as (service, settings), progress("whatif") as tell:
        made = service.what_if(given.candidate(settings), Scope(last, task_type), tell)
    _told(made, as_json, ahead=True)


def lift(
    last: Annotated[int, typer.Option(min=1, help="Drawn decisions to look at, from the end of the log.")] = 100_000,
    exploration: Annotated[bool, typer.Option(help="Tell what learning cost, too (of the last 5,000): this folds the log.")] = False,
    task_type: TaskType = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """What routing gains over the held-back baseline, with intervals that hold at any time, and what learning cost."""
    from router.domain.recall import Scope
    from router.services.lift import LiftService

    with opened(database_url) as (store, _):
        made = LiftService(store).lift(last=last, task_type=task_type)
    cost = None
    if exploration:
        with _service(database_url) as (service, _), progress("exploration") as tell:
            cost = service.exploration(Scope(min(last, 5_000), task_type), tell)
    if as_json:
        print_json({"lift": made, "exploration": cost})
        return
    rows = []
    for name, gain, shown in (
        ("utility", made.utility, number),
        ("quality", made.quality, number),
        ("$ per call", made.cost_usd, money),
        ("latency s", made.latency_s, number),
    ):
        rows.append((name, shown(gain.routed), shown(gain.baseline), _interval(gain.lift, shown), f"{gain.units[0]:,} / {gain.units[1]:,}"))
    columns = ("", "routed", "baseline", "lift [95 %, any time]", "units")
    print_table("routing against the held-back baseline", columns, rows, figures=(1, 2, 3, 4))
    if made.saved_usd is not None:
        print_line(f"saved by routing so far: {_interval(made.saved_usd, money)}")
    for doubt in made.doubts:
        print_line(f"cannot tell: {doubt}")
    if cost is not None and cost.then is not None:
        print_line(f"explored {share(cost.explored)} of {cost.decisions:,} decisions:")
        for what, lost in (("exploring cost", cost.then), ("regret by what is known now", cost.now)):
            if lost is not None:
                points = f"{100 * lost.quality:.2f} points of quality and {money(lost.cost_usd)} per decision"
                print_line(f"  {what}: {points}; {lost.total_quality:,.1f} answers' worth and {money(lost.total_usd)} in all")


class _Given:
    """The options that describe a candidate."""

    def __init__(
        self,
        policy: str | None,
        parameter: Sequence[str] | None,
        model: str | None,
        rules: Path | None,
        weights: tuple[float | None, float | None, float | None],
        price: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
        cap: Sequence[str] | None = None,
    ) -> None:
        self._policy, self._model, self._rules, self._weights = policy, model, rules, weights
        self._parameters = {name: _figure("parameter", text) for name, text in _pairs("parameter", parameter)}
        self._prices = {name: _price(text) for name, text in _pairs("price", price)}
        self._caps = {name: _figure("cap", text) for name, text in _pairs("cap", cap)}
        self._without = frozenset(without or ())

    def candidate(self, settings: Any) -> "Candidate":
        """What they describe; weights that are not given are the settings'."""
        from router.domain.candidates import Candidate
        from router.domain.tasks import Weights

        own = (settings.weight_quality, settings.weight_cost, settings.weight_latency)
        weights = [usual if given is None else given for given, usual in zip(self._weights, own, strict=True)]
        return Candidate(
            policy=self._policy,
            parameters=self._parameters,
            model=self._model,
            rules=None if self._rules is None else _read_rules(self._rules),
            weights=Weights(*weights) if any(given is not None for given in self._weights) else None,
            prices=self._prices,
            without=self._without,
            caps=self._caps,
        )


def _pairs(option: str, given: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    for text in given or ():
        name, sign, value = text.rpartition("=")
        if not (name and sign and value):
            raise _refused(option, "has no value", f"write --{option} NAME=VALUE")
        yield name, value


def _figure(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _refused(option, "is not a number", f"write --{option} NAME=0.1") from None


def _price(text: str) -> tuple[float, float]:
    first, _, second = text.partition("/")
    return _figure("price", first), _figure("price", second or first)


def _refused(option: str, message: str, remedy: str) -> Exception:
    from router.errors import TaskInvalid

    return TaskInvalid(f"--{option} {message}", field=option, remedy=remedy)


def _read_rules(path: Path) -> dict[str, str]:
    import yaml  # here: only files of this kind need it

    from router.domain.candidates import rules_of

    try:
        return rules_of(yaml.safe_load(path.read_text("utf-8")))
    except OSError as exc:
        raise _refused("rules", f"cannot be read ({exc.strerror})", "name a file that this user may read") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise _refused("rules", "is neither YAML nor JSON", "correct the file") from exc


@contextmanager
def _service(database_url: str | None) -> "Iterator[tuple[EvaluationService, Any]]":
    from router.cli.models import read_catalog
    from router.recomputing import decide_again
    from router.services.evaluation import EvaluationService

    with opened(database_url) as (store, settings):
        catalog = read_catalog(database_url)
        yield EvaluationService(store, decide_again, lambda: catalog), settings


def _told(made: "Comparison", as_json: bool, *, ahead: bool) -> None:
    if as_json:
        print_json(made)
        return
    rows = []
    for name, value, shown in (
        ("utility", made.utility, number),
        ("quality", made.quality, number),
        ("$ per call", made.cost_usd, money),
        ("latency s", made.latency_s, number),
    ):
        if value is not None:
            rows.append((name, *_row(value, shown), f"{value.support.effective:,.0f}"))
    columns = ("", "now", "then [95 %]", "difference [95 %]", "at any time", "worth outcomes")
    title = f"{made.candidate}: {made.verdict}" if not ahead else f"what if: {made.candidate}"
    print_table(f"{title} ({made.decisions:,} decisions)", columns, rows, figures=(1, 2, 3, 4, 5))
    print_line()
    moved = [(t.model, share(t.now), f"{share(t.then.mean)} [{share(t.then.low)}, {share(t.then.high)}]") for t in made.traffic[:12]]
    print_table("traffic", ("model", "now", "then"), moved, figures=(1, 2))
    for doubt in made.doubts:
        print_line(f"cannot tell: {doubt}" if made.verdict == "cannot tell" else f"note: {doubt}")
    if made.verdict == "cannot tell":
        print_line("in parentheses: what the learned model expects, which the log does not prove")


def _row(value: "Value", shown: Callable[[float | None], str]) -> tuple[str, str, str, str]:
    now = "–" if value.now is None else shown(value.now.mean)
    then = _interval(value.then, shown) if value.then is not None else f"({shown(value.estimators['direct'])})"
    return now, then, _interval(value.difference, shown), _interval(value.difference_any_time, shown)


def _interval(interval: Any, shown: Callable[[float | None], str]) -> str:
    return "–" if interval is None else f"{shown(interval.mean)} [{shown(interval.low)}, {shown(interval.high)}]"

"""``pointsman plan``: a model for every agent of an orchestration, jointly."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import money, number, print_json, print_line, print_table, progress
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.api.orchestrations import OrchestrationIn

_SHIPPED = Path(__file__).parent.parent / "orchestration_data"


def plan(
    orchestration: Annotated[str, typer.Argument(metavar="ORCHESTRATION", help="A YAML or JSON file, or 28-agents or 180-agents.")],
    goal: Annotated[str | None, typer.Option(help="balanced, cheapest (at no lower quality than the baseline) or best.")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="For all agents together.")] = None,
    min_scores: Annotated[int | None, typer.Option(help="Leave out models with fewer scores on the task type.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The one model to compare with.")] = None,
    url: Annotated[str | None, typer.Option(help="Plan from what a running service has learned, e.g. http://127.0.0.1:8080.")] = None,
    key: Annotated[str | None, typer.Option(help="API key for --url.", envvar="POINTSMAN_KEY")] = None,
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Assign a model to each of up to thousands of agents under one budget, a quality floor and the providers' rate limits.

    Plans from what the database has learned (from what is published about the models, where there is none yet) and logs nothing; POST
    /v1/route/batch plans and logs a decision per agent.
    """
    given = {"goal": goal, "baseline": baseline}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    limits = {"budget_usd": budget_usd, "min_scores": min_scores}
    changes["limits"] = {name: value for name, value in limits.items() if value is not None}
    document = _document(orchestration, changes)
    made = _planned_here(document, database_url) if url is None else _planned_there(document, url, key)
    if as_json:
        print_json(made)
    else:
        _show(made)


def _document(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The file's content with the options over it.

    Raises ``TaskInvalid``.
    """
    import yaml  # here: only files of this kind need it

    from router.errors import TaskInvalid

    shipped = _SHIPPED / f"{name}.yaml"
    path = shipped if "/" not in name and shipped.exists() else Path(name)
    try:
        read = yaml.safe_load(path.read_text("utf-8"))
    except OSError as exc:
        remedy = f"name a file, or one that ships: {', '.join(sorted(p.stem for p in _SHIPPED.glob('*.yaml')))}"
        raise TaskInvalid(f"the orchestration cannot be read ({exc.strerror})", field="ORCHESTRATION", remedy=remedy) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise TaskInvalid(f"the file is not YAML{where}", field="ORCHESTRATION", remedy="correct it; '28-agents' shows the form") from None
    if not isinstance(read, dict):
        raise TaskInvalid("the file holds no mapping", field="ORCHESTRATION", remedy="begin with 'agents:'; '28-agents' shows the form")
    limits = {**(read.get("limits") or {}), **changes.pop("limits", {})}
    return {**read, **changes, "limits": limits}


def _checked(document: dict[str, Any]) -> "OrchestrationIn":
    """Raises ``RequestInvalid`` naming the field."""
    import msgspec
    from pydantic import ValidationError

    from router.api.errors import invalid
    from router.api.orchestrations import OrchestrationIn

    try:
        return OrchestrationIn.model_validate_json(msgspec.json.encode(document))
    except ValidationError as exc:
        raise invalid(exc.errors(include_url=False, include_input=False)) from None


def _planned_here(document: dict[str, Any], database_url: str | None) -> dict[str, Any]:
    from router import config, library
    from router.api.orchestrations import to_orchestration, told
    from router.domain.planning import plan as assign
    from router.storage import schema

    checked = _checked(document)
    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    empty = settings.in_memory or (database_url is None and not schema.check(settings.database_url).ready)
    selector = library.selector(None if empty else settings.database_url)
    with progress("reading the log") as tell:
        selector.read(tell)
    job = to_orchestration(checked, selector.weights)
    return told(assign(job, [selector.outlook(group.task) for group in job.agents], selector.catalog))


def _planned_there(document: dict[str, Any], url: str, key: str | None) -> dict[str, Any]:
    """Raises ``TaskInvalid`` with what the service refuses, ``StorageUnavailable`` where it does not answer."""
    import json
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    from router.errors import StorageUnavailable, TaskInvalid

    if not url.startswith(("http://", "https://")):
        raise TaskInvalid("the service's address is not one of HTTP", field="url", remedy="e.g. http://127.0.0.1:8080")
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
    body = json.dumps({**document, "dry_run": True}).encode()
    request = Request(f"{url.rstrip('/')}/v1/route/batch", body, headers)  # noqa: S310 - its scheme was looked at
    try:
        with urlopen(request, timeout=60) as reply:  # noqa: S310 - the same
            answer: dict[str, Any] = json.load(reply)
            return answer
    except HTTPError as exc:
        told = json.load(exc)["error"]
        raise TaskInvalid(told["message"], field=told["field"], remedy=told["remedy"]) from None
    except URLError as exc:
        raise StorageUnavailable("the service does not answer", field="url", remedy="check that it runs: pointsman serve") from exc


def _show(made: dict[str, Any]) -> None:
    size = f"{made['agents']:,} agents, {made['calls']:,} calls"
    print_table(
        f"{made['name']}: {size}, goal {made['goal']}; from what was learned up to log position {made['seq']}",
        ("agents", "model", "n", "calls × cost each = cost", "quality [90 %]", "scores", "latency s [90 %]"),
        [_line(line) for line in made["assigned"]],
        figures=(2, 3, 4, 5, 6),
    )
    totals = made["totals"]
    print_line(f"\ncost: {' + '.join(money(line['total_usd']) for line in made['assigned'])} = {_money(totals['cost_usd'])}")
    parts = " + ".join(f"{line['calls']} × {line['quality']['mean']:.3f}" for line in made["assigned"])
    print_line(f"quality: ({parts}) / {made['calls']} = {_estimate(totals['quality'], 3)}\n")
    print_table(
        "beside all agents on one model",
        ("", "cost [90 %]", "quality [90 %]", "s mean / slowest", "plan's cost", "plan's quality", "breaks"),
        [("this plan", *_totals(totals), "", "", ""), *(_comparison(other) for other in made["comparisons"])],
        figures=(1, 2, 3, 4, 5),
    )
    print_line()
    for limit in made["limits"]:
        print_line(f"{limit['name']}: {limit['used']:,.6g} of {limit['at_most']:,.6g}")
    for model, why in made["not_comparable"].items():
        print_line(f"{model} cannot take all agents: {why}")
    for given_up in sorted({f"{line['agents']} ({', '.join(line['relaxed'])})" for line in made["assigned"] if line["relaxed"]}):
        print_line(f"given up, as no model meets it: a limit of {given_up}")


def _line(line: dict[str, Any]) -> tuple[str, ...]:
    cost = f"{line['calls']:,} × {money(line['cost_usd']['mean'])} = {money(line['total_usd'])}"
    scores = f"{line['scores']:,}" if line["scores"] else "inferred"
    quality, latency = _estimate(line["quality"], 3), _estimate(line["latency_s"], 1)
    return line["agents"], line["model"], f"{line['count']:,}", cost, quality, scores, latency


def _comparison(other: dict[str, Any]) -> tuple[str, ...]:
    ratio = "–" if other["cost_ratio"] is None else f"{other['cost_ratio']:.0%} of it"
    difference = _estimate(other["quality_difference"], 3, sign=True)
    return f"all on {other['model']}", *_totals(other["totals"]), ratio, difference, ", ".join(other["breaks"])


def _totals(totals: dict[str, Any]) -> tuple[str, str, str]:
    pace = f"{number(totals['latency_s']['mean'], 1)} / {number(totals['longest_s'], 1)}"
    return _money(totals["cost_usd"]), _estimate(totals["quality"], 3), pace


def _estimate(value: dict[str, float], digits: int, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return f"{value['mean']:{plus}.{digits}f} [{value['low']:{plus}.{digits}f}, {value['high']:{plus}.{digits}f}]"


def _money(value: dict[str, float]) -> str:
    return f"{money(value['mean'])} [{money(value['low'])}, {money(value['high'])}]"

"""The rules that emerged from the evidence, as plain values to be written down, pinned and compared.

A rule speaks of measured models only. Pinned rules are hashed over their content, so that a decision can name exactly what it followed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.domain.catalog import Catalog
from router.domain.guide import Cell, Guide, State, TaskGuide
from router.domain.measured import Measure
from router.domain.pins import Pin, digest_of
from router.errors import ConfigurationInvalid

FORMAT = 1
_ALTERNATIVES = 4
_IDS = 20

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """How a rule differs from what is learned now."""

    task_type: str
    kind: str
    """primary, quality, status, new, gone"""
    was: str
    now: str


def rulebook(guide: Guide, baseline: str | None = None) -> Json:
    """Every task type's rule, ready for YAML; ``baseline``: the model to compare with, else the dearest measured one of each type."""
    return {
        "format": FORMAT,
        "seq": guide.seq,
        "learned_state": guide.digest,
        "weights": dict(guide.weights),
        "rules": {task.task_type: _rule(task, baseline) for task in guide.task_types if task.recommended is not None},
    }


def _rule(task: TaskGuide, baseline: str | None) -> Json:
    measured = {cell.model: cell for cell in task.cells if cell.state is State.MEASURED}
    primary = measured[task.recommended or ""]
    beside = measured.get(baseline) if baseline is not None else _dearest(list(measured.values()))
    rule: Json = {
        "primary": primary.model,
        "status": task.status.value,
        "recommendation": _recommendation(task, primary),
        "sample_size": primary.quality.n if primary.quality else 0,
        "quality": _interval(primary.quality),
        "cost_usd": _interval(primary.cost_usd),
        "latency_s": _interval(primary.latency_s),
        "tokens_per_s": _rounded(primary.tokens_per_s),
        "relative_to_baseline": _relative(primary, beside, baseline),
        "alternatives": [
            {
                "model": cell.model,
                "quality": _interval(cell.quality),
                "probability_best": _rounded(cell.probability_best),
                "sample_size": cell.quality.n if cell.quality else 0,
            }
            for cell in [cell for cell in measured.values() if cell.model != primary.model][:_ALTERNATIVES]
        ],
        "flips_if": task.flip,
    }
    if primary.evidence is not None:
        rule["evidence"] = {
            "query": primary.evidence.query,
            "first_seq": primary.evidence.first_seq,
            "last_seq": primary.evidence.last_seq,
            "decision_ids": list(primary.evidence.decision_ids[-_IDS:]),
        }
    return rule


def _dearest(cells: Sequence[Cell]) -> Cell | None:
    return max((c for c in cells if c.cost_usd), key=lambda c: c.cost_usd.mean if c.cost_usd else 0.0, default=None)


def _recommendation(task: TaskGuide, primary: Cell) -> str:
    words = {
        "settled": f"Use {primary.model}.",
        "leaning": f"Use {primary.model}; more cases would settle it.",
        "contested": f"Use {primary.model} for now: {task.runner_up or 'another model'} may be as good or better.",
        "prior-only": f"Try {primary.model}: there is little evidence yet.",
    }
    return words[task.status.value]


def _relative(primary: Cell, beside: Cell | None, wanted: str | None) -> Json:
    if beside is None:
        why = f"{wanted} is not measured on this task type" if wanted is not None else "no measured model has a known cost"
        return {"baseline": wanted, "note": why}
    if beside.model == primary.model:
        return {"baseline": beside.model, "note": "the primary model is the baseline"}
    return {
        "baseline": beside.model,
        "quality_difference": _interval(difference(primary.quality, beside.quality)),
        "cost_ratio": _interval(ratio(primary.cost_usd, beside.cost_usd)),
        "speed_ratio": _interval(ratio(beside.latency_s, primary.latency_s)),
    }


def difference(a: Measure | None, b: Measure | None) -> Measure | None:
    """a - b with an interval recovered from both of theirs, which need not be symmetric (Zou and Donner, 2008)."""
    if a is None or b is None:
        return None
    gap = a.mean - b.mean
    low = gap - math.hypot(a.mean - a.low, b.high - b.mean)
    high = gap + math.hypot(a.high - a.mean, b.mean - b.low)
    return Measure(min(a.n, b.n), gap, low, high)


def ratio(a: Measure | None, b: Measure | None) -> Measure | None:
    """a / b for positive quantities, likewise on their logarithms; None where an interval reaches zero."""
    if a is None or b is None or min(a.low, b.low) <= 0:
        return None
    logs = [Measure(m.n, *(math.log(value) for value in (m.mean, m.low, m.high))) for m in (a, b)]
    gap = difference(*logs)
    return None if gap is None else Measure(gap.n, math.exp(gap.mean), math.exp(gap.low), math.exp(gap.high))


def pinned(book: Json, task_types: Sequence[str], catalog: Catalog) -> Json:
    """The rules of some task types, to be followed instead of the learner; all where none is named.

    Raises ``ConfigurationInvalid`` where the rules lack one, or name a model that the catalogue lacks.
    """
    rules = rules_of(book)
    for task_type in task_types:
        if task_type not in rules:
            raise ConfigurationInvalid(
                "the file has no rule for a task type", field="task-type", remedy=f"name some of {', '.join(sorted(rules))}"
            )
    chosen = {name: rules[name] for name in (task_types or rules)}
    for name, rule in chosen.items():
        for model in models_of(rule, name):
            if model not in catalog:
                raise ConfigurationInvalid(
                    "a rule names a model that the catalogue lacks", field=f"rules.{name}", remedy="add the model, or take it out"
                )
    return {"format": FORMAT, "pinned": True, "sha256": digest_of(chosen), "seq": book.get("seq"), "rules": chosen}


def pins_of(book: Json) -> dict[str, Pin]:
    """What a pinned file says, checked against its hash.

    Raises ``ConfigurationInvalid``.
    """
    rules = rules_of(book)
    if not book.get("pinned"):
        raise ConfigurationInvalid("the rules file is not pinned", field="rules_file", remedy="make one with 'pointsman rules pin FILE'")
    digest = digest_of(rules)
    if book.get("sha256") != digest:
        raise ConfigurationInvalid(
            "the pinned rules were changed after they were pinned", field="rules_file", remedy="'pointsman rules pin FILE' pins them again"
        )
    return {name: Pin(models_of(rule, name), digest) for name, rule in rules.items()}


def rules_of(book: object) -> dict[str, Json]:
    """The rules of a file by task type.

    Raises ``ConfigurationInvalid``.
    """
    if not isinstance(book, Mapping) or book.get("format") != FORMAT or not isinstance(book.get("rules"), Mapping):
        raise ConfigurationInvalid("this is no rules file", field="rules", remedy="make one with 'pointsman rules export'")
    rules = {str(name): rule for name, rule in book["rules"].items()}
    for name, rule in rules.items():
        models_of(rule, name)
    return rules


def models_of(rule: object, name: str) -> tuple[str, ...]:
    """The primary model and the alternatives of a rule.

    Raises ``ConfigurationInvalid``.
    """
    if isinstance(rule, Mapping) and isinstance(rule.get("primary"), str):
        others = rule.get("alternatives") or []
        named = [one.get("model") if isinstance(one, Mapping) else one for one in others] if isinstance(others, list) else [None]
        if all(isinstance(model, str) for model in named):
            return (rule["primary"], *named)
    raise ConfigurationInvalid("a rule lacks its models", field=f"rules.{name}", remedy="give primary and alternatives with a model each")


def compare(then: Json, now: Json) -> list[Change]:
    """What changed since a file was written, by task type. A quality has changed where neither interval holds the other's mean."""
    old, new = rules_of(then), rules_of(now)
    pinned_only = bool(then.get("pinned"))
    changes: list[Change] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            if not pinned_only:
                changes.append(Change(name, "new", "–", new[name]["primary"]))
        elif name not in new:
            changes.append(Change(name, "gone", old[name]["primary"], "–"))
        else:
            changes += _changes(name, old[name], new[name])
    return changes


def _changes(name: str, old: Json, new: Json) -> list[Change]:
    if old["primary"] != new["primary"]:
        return [Change(name, "primary", old["primary"], f"{new['primary']} ({new['status']})")]
    found = []
    if old.get("status") != new["status"]:
        found.append(Change(name, "status", str(old.get("status")), new["status"]))
    was, now = old.get("quality"), new.get("quality")
    if was and now and not (was["low"] <= now["mean"] <= was["high"]) and not (now["low"] <= was["mean"] <= now["high"]):
        found.append(Change(name, "quality", f"{was['mean']:.3f}", f"{now['mean']:.3f}"))
    return found


def _interval(measure: Measure | None) -> Json | None:
    return None if measure is None else {k: _rounded(getattr(measure, k)) for k in ("mean", "low", "high")}


def _rounded(value: float | None) -> float | None:
    """Six significant digits: what a file shows is what is hashed."""
    return None if value is None else float(f"{value:.6g}")

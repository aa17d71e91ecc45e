"""What the results say about each promise: reached, or not reached and by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.learning.contenders import entry
from benchmarks.learning.coverage import Coverage
from benchmarks.learning.design import Cell
from benchmarks.learning.intervals import interval, paired
from benchmarks.learning.measures import HINDSIGHT, Scores, fixed_rules, hull, task_of
from benchmarks.learning.problems import SAFE_DEFAULT, budgets, safe_default, specialist, stream_of, swap_at, table_of
from router.domain.hindsight import best_per_task, means
from router.domain.outcome_table import FloatArray, IntArray

US = "pointsman"
INFORMED = "informed sampler"
RULES = ("random", "pointsman linucb", "pointsman hashed", "pointsman embedding", INFORMED)
"""Not peers: nobody would pick the first, the last knows what nobody knows, the others are ours."""
REFERENCE = "composite_reasoning"
SWAP_WINDOW = (200, 300)
"""Decisions after the swap over which recovery is read."""
_AS_GOOD = 0.01
"""Quality within which it hardly matters which of two models is called."""
Board = Sequence[tuple[Cell, Mapping[str, Scores]]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the answer; ``reached`` is None where it could not be measured."""

    point: str
    reached: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "reached", False: "NOT reached", None: "not measured"}[self.reached]
        return f"{self.point}: {word}. {self.text}"


def peers_of(scores: Mapping[str, Scores]) -> list[str]:
    """Everyone in a cell whom Pointsman is measured against."""
    return [n for n in scores if n != US and n not in RULES and n not in HINDSIGHT]


def label(cell: Cell) -> str:
    """A cell in a few words."""
    p = cell.problem
    parts = [p.name, p.setting]
    if p.feedback < 1:
        parts.append(f"{p.feedback:.0%} feedback")
    if p.scenario != "stationary":
        parts.append(p.scenario)
    return ", ".join(parts)


def verdicts(board: Board, coverage: Coverage | None) -> list[Verdict]:
    """All promises that the benchmark measures."""
    found = [*_hindsight(board), *_peers(board), *_budget(board), *_swap(board), *_arrivals(board), *_scarce(board), *_lies(board)]
    if coverage is not None:
        found.append(Verdict("8 interval coverage", 0.87 <= coverage.share <= 0.93, str(coverage)))
    return found


def _hindsight(board: Board) -> list[Verdict]:
    out = []
    for cell, scores in board:
        if cell.section != "stationary" or cell.problem.name != REFERENCE or US not in scores:
            continue
        us, single, task = scores[US], scores["best single"], scores["best per task"]
        whole, last = paired(us["utility"], single["utility"]), paired(us["last_utility"], task["last_utility"])
        yard = f"{single['utility'].mean():.4f}", f"{task['utility'].mean():.4f}"
        best = scores.get(INFORMED)
        limit = [
            ""
            if best is None
            else f"; over a cold start that knew the table's spread in hindsight, {best[m].mean():.4f}: {paired(us[m], best[m])}"
            for m in ("utility", "last_utility")
        ]
        out.append(
            Verdict(
                f"1 {label(cell)}, whole pass",
                whole.high >= 0,
                f"utility {us['utility'].mean():.4f} against {yard[0]} of the best single model: {whole}{limit[0]}",
            )
        )
        out.append(
            Verdict(
                f"1 {label(cell)}, last quarter",
                last.high >= 0,
                f"utility {us['last_utility'].mean():.4f} against {task['last_utility'].mean():.4f} of the best table per task type on the "
                f"same quarter ({yard[1]} over the whole pass): {last}{limit[1]}",
            )
        )
    return out


def _peers(board: Board) -> list[Verdict]:
    ahead, even, behind = 0, 0, []
    for cell, scores in board:
        if US not in scores or cell.problem.budget is not None:
            continue
        for name in peers_of(scores):
            gap = paired(scores[US]["utility"], scores[name]["utility"])
            ahead += gap.low > 0
            even += gap.low <= 0 <= gap.high
            if gap.mean <= 0:
                warm = ", which has seen a tenth of the table before" if entry(name).warm else ""
                behind.append((gap.mean, f"{name}{warm} on {label(cell)}: {gap} (n={gap.n})"))
    if not ahead and not even and not behind:
        return []
    text = f"clearly ahead in {ahead} comparisons, within the interval in {even}; not ahead in the mean in {len(behind)}"
    lines = "".join(f"\n    {line}" for _, line in sorted(behind))
    return [Verdict("2 ahead of every peer", not behind, text + (":" + lines if behind else ""))]


def _budget(board: Board) -> list[Verdict]:
    out = []
    for cell, scores in board:
        if cell.problem.budget is None or US not in scores:
            continue
        us = scores[US]
        limits = np.array([budgets(table_of(cell.problem, s))[cell.problem.budget] for s in range(us.seeds)])
        spent = us["cost_usd"] / limits
        edges = np.array([hull(*fixed_rules(stream_of(cell.problem, s)), float(limits[s])) for s in range(us.seeds)])
        over_hull = interval(us["quality"] - edges)
        rivals = {n: paired(us["quality"], scores[n]["quality"]) for n in scores if n.startswith("paretobandit")}
        ratio = float(spent.mean())
        slack = _slack(board, cell, limits)
        kept = ratio <= 1.01 and (ratio >= 0.99 or slack)
        text = (
            f"B = ${limits.mean():.3g}: spent {ratio:.3f} B{' (B does not bind)' if slack else ''}, quality {us['quality'].mean():.4f}; "
            f"over the hull of single models at B {over_hull}"
        )
        if INFORMED in scores:
            text += f"; over a cold start that knew the table's spread in hindsight {paired(us['quality'], scores[INFORMED]['quality'])}"
        for name, gap in rivals.items():
            text += f"; over {name} {gap} (it spent {float((scores[name]['cost_usd'] / limits[: scores[name].seeds]).mean()):.3f} B)"
        beaten = all(gap.mean > 0 for n, gap in rivals.items() if not entry(n).warm)
        out.append(Verdict(f"3 {label(cell)}", bool(kept and over_hull.mean > 0 and beaten), text))
    return out


def _slack(board: Board, cell: Cell, limits: FloatArray) -> bool:
    """Whether Pointsman without a budget costs less than B on the same table."""
    for other, scores in board:
        p, q = cell.problem, other.problem
        if (q.name, q.cost_weight, q.budget, q.feedback, q.scenario, q.era) == (
            p.name,
            0.0,
            None,
            1.0,
            "stationary",
            None,
        ) and US in scores:
            return bool(np.nanmean(scores[US]["cost_usd"]) < limits.mean())
    return False


def _swap(board: Board) -> list[Verdict]:
    out = []
    for cell, scores in board:
        if cell.section == "swap" and US in scores:
            out += [_recovery(cell, scores), _incident(cell, scores[US])]
        if cell.section == "false alarms" and US in scores:
            known = [i for i in scores[US].incidents if i is not None]
            false = sum(bool(i) for i in known)
            text = f"{false} of {len(known)} shuffles of the first era raise an incident" if known else "the pass reports no incidents"
            out.append(Verdict("4 no false alarms", false <= 1 if known else None, text))
    return out


def _recovery(cell: Cell, scores: Mapping[str, Scores]) -> Verdict:
    at, shares, rest = swap_at(cell.problem), [], []
    window = slice(at + SWAP_WINDOW[0], at + SWAP_WINDOW[1])
    for seed, chosen in enumerate(scores[US].chosen):
        stream = stream_of(cell.problem, seed)
        expected = stream.expected()[3][at:]
        best = best_per_task(expected, task_of(stream)[at:])
        yard = np.take_along_axis(expected, best[:, None], axis=1)[:, 0]
        ours = stream.quality[np.arange(len(stream)), chosen]
        shares.append(ours[window].mean() / yard[SWAP_WINDOW[0] : SWAP_WINDOW[1]].mean())
        rest.append(ours[at + SWAP_WINDOW[1] :].mean() / yard[SWAP_WINDOW[1] :].mean())
    now, later = interval(shares), interval(rest)
    others = {n: scores[n]["utility"].mean() for n in peers_of(scores)}
    return Verdict(
        "4 recovery from the swap",
        now.mean >= 0.95,
        f"decisions {SWAP_WINDOW[0] + 1} to {SWAP_WINDOW[1]} after it bring {now.mean:.1%} [{now.low:.1%}, {now.high:.1%}] of the second "
        f"era's best quality per task type, those after them {later.mean:.1%}; whole stream {scores[US]['quality'].mean():.4f}, best peer "
        f"{max(others, key=lambda n: others[n])} {max(others.values()):.4f}",
    )


def _incident(cell: Cell, us: Scores) -> Verdict:
    at = swap_at(cell.problem)
    known = [i for i in us.incidents if i is not None]
    if not known:
        return Verdict("4 incident after the swap", None, "the pass reports no incidents")
    first = [min((int(str(e["decision"])) for e in i if int(str(e["decision"])) >= at), default=10**9) - at for i in known]
    early = sum(any(int(str(e["decision"])) < at for e in i) for i in known)
    found = [f for f in first if f < 10**8]
    text = f"opened within 150 decisions in {sum(f <= 150 for f in first)} of {len(first)} passes"
    text += f", after {int(np.median(found))} in the median" if found else ""
    return Verdict("4 incident after the swap", all(f <= 150 for f in first) and not early, f"{text}; before the swap in {early}")


def _arrivals(board: Board) -> list[Verdict]:
    by_scenario = {c.problem.scenario: (c, s) for c, s in board if c.section == "change" and c.problem.name == REFERENCE and US in s}
    out = []
    if "best model arrives" in by_scenario:
        cell, scores = by_scenario["best model arrives"]
        table = table_of(cell.problem, 0)
        model, kind = specialist(table)
        shares = []
        for seed, chosen in enumerate(scores[US].chosen):
            stream = stream_of(cell.problem, seed)
            inside = [i for i in range(len(stream) // 2, len(stream)) if table.task_types[stream.prompt[i]] == kind]
            shares.append(float((chosen[inside[75:100]] == table.models.index(model)).mean()))
        found = interval(shares)
        out.append(
            Verdict(
                "5 a new best model",
                found.mean > 0.5,
                f"{model} gets {found.mean:.0%} [{found.low:.0%}, {found.high:.0%}] of decisions 76 to 100 of {kind} after it came",
            )
        )
    if {"useless model arrives", "useless model never arrives"} <= set(by_scenario):
        came, never = (by_scenario[f"useless model {w}"][1][US]["utility"] for w in ("arrives", "never arrives"))
        loss = paired(never, came)
        out.append(
            Verdict(
                "5 a new useless model",
                loss.mean < 0.01 * float(never.mean()),
                f"costs {loss.mean / never.mean():+.2%} of the pass's utility ({loss})",
            )
        )
    return out


def _scarce(board: Board) -> list[Verdict]:
    out = []
    for cell, scores in board:
        if cell.section != "feedback" or cell.problem.feedback > 0.05 or US not in scores:
            continue
        gap = paired(scores[US]["utility"], scores["random"]["utility"])
        out.append(Verdict(f"6 {label(cell)}", gap.low > 0.02, f"over uniform {gap}"))
    for cell, scores in board:
        if cell.section != SAFE_DEFAULT or US not in scores:
            continue
        tables = [table_of(cell.problem, s) for s in range(scores[US].seeds)]
        below = interval([_against(cell, s, safe_default(t), scores[US].chosen[s]) for s, t in enumerate(tables)])
        name = tables[0].models[safe_default(tables[0])]
        text = f"against {name} alone (the dearest model, which an operator without data would take) {below}"
        out.append(Verdict(f"6 {label(cell)}", below.mean >= -0.01, text))
    return out


def _against(cell: Cell, seed: int, model: int, chosen: IntArray) -> float:
    """Mean quality over that of one model, on the decisions that offer it."""
    quality = stream_of(cell.problem, seed).quality
    at = np.flatnonzero(~np.isnan(quality[:, model]))
    return float((quality[at, chosen[at]] - quality[at, model]).mean())


def _lies(board: Board) -> list[Verdict]:
    """The best model's share of the last half, with a key that lies and with the same share of the scores not told at all."""
    silent = {c.problem.name: s[US] for c, s in board if c.section == "silent key" and US in s}
    out = []
    for cell, scores in board:
        if cell.section != "lies" or US not in scores or cell.problem.name not in silent:
            continue
        us, control = scores[US], silent[cell.problem.name]
        moved, near = [], []
        for seed, pair in enumerate(zip(us.chosen, control.chosen, strict=False)):
            quality = means(stream_of(cell.problem, seed).quality)
            lied, told = (np.bincount(c[len(c) // 2 :], minlength=len(quality)) / len(c[len(c) // 2 :]) for c in pair)
            good = quality >= np.nanmax(quality) - _AS_GOOD
            moved.append(float((lied - told)[int(np.nanargmax(quality))]))
            near.append(float((lied - told)[good].sum()))
        shift, loss = interval(moved), paired(control["utility"], us["utility"])
        text = (
            f"against a key that says nothing the best model's share of the second half moves by {shift}, that of the models within "
            f"{_AS_GOOD:g} of it by {interval(near)}; the pass loses {loss} of utility"
        )
        out.append(Verdict(f"7 {label(cell)}", shift.low <= 0.02 and shift.high >= -0.02 and abs(shift.mean) <= 0.02, text))
    return out

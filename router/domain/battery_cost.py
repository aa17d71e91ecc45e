"""What a battery is about to cost, before it starts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.domain.battery import Battery, Case, Section, Unit
from router.domain.catalog import Catalog
from router.domain.classify import estimate_tokens
from router.domain.models import Model
from router.domain.prices import Billed, cost_of, token_rates

IMAGE_TOKENS = 800
"""About what providers count for a small picture."""
JUDGE_PROMPT_TOKENS, JUDGE_REPLY_TOKENS = 600, 1_000
"""Of a judge's instructions and of its reply, at most: a grade takes ten tokens, models that think first take the rest."""
_PER_TOKEN = 1e-6


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """USD for a number of calls and their judging."""

    calls: int
    expected_usd: float
    """With answers of the length that the battery expects."""
    most_usd: float
    """With every answer at its limit."""
    judging_usd: float
    """Part of the most: what judges may cost that ask models."""
    unpriced: tuple[str, ...]
    """Models whose cost cannot be told beforehand: their calls are not in the sums."""
    by_model: tuple[tuple[str, int, float | None], ...]
    """Each model with its calls and expected USD."""


def context_tokens(section: Section, case: Case) -> int:
    """About how many tokens a case sends."""
    return estimate_tokens(case.prompt) + estimate_tokens(section.system or "") + IMAGE_TOKENS * (case.image is not None)


def unit_cost(model: Model, section: Section, case: Case) -> tuple[float, float] | None:
    """Expected and highest cost of one call in USD; None where the price is unknown or not by token."""
    rates = token_rates(model.price)
    if rates is None:
        return None
    images = (model.price.usd_per_image or 0.0) if model.price is not None and case.image is not None else 0.0
    read = _PER_TOKEN * rates[0] * context_tokens(section, case) + images
    expected = section.expected_output_tokens or max(1, section.max_output_tokens // 2)
    return read + _PER_TOKEN * rates[1] * expected, read + _PER_TOKEN * rates[1] * section.max_output_tokens


def judging_cost(models: Sequence[str], section: Section, case: Case, catalog: Catalog) -> float | None:
    """Highest cost of asking the dearest of some models to judge one answer, twice for judges that compare; None where unknown."""
    read = JUDGE_PROMPT_TOKENS + 2 * context_tokens(section, case) + estimate_tokens(case.reference) + section.max_output_tokens
    costs = [cost_of(catalog.get(model).price, Billed(read, JUDGE_REPLY_TOKENS)) for model in models]
    known = [cost for cost in costs if cost is not None]
    return 2 * max(known, default=0.0) if len(known) == len(costs) else None


def estimate_cost(
    battery: Battery, todo: Sequence[Unit], catalog: Catalog, judges: Mapping[str, Sequence[str]] | None = None
) -> CostEstimate:
    """Of the calls still to be made, and of asking ``judges`` (models by task type) about their answers."""
    cases = {(section.task_type, case.id): (section, case) for section in battery.sections for case in section.cases}
    calls: dict[str, int] = {}
    expected: dict[str, list[float]] = {}
    most: list[float] = []
    judged: list[float] = []
    unpriced: set[str] = set()
    for unit in todo:
        section, case = cases[unit.task_type, unit.case_id]
        calls[unit.model] = calls.get(unit.model, 0) + 1
        cost = unit_cost(catalog.get(unit.model), section, case)
        asked = (judges or {}).get(unit.task_type, ())
        judging = judging_cost(asked, section, case, catalog)
        if judging is None:
            unpriced.update(model for model in asked if catalog.get(model).price is None)
        else:
            judged.append(judging)
        if cost is None:
            unpriced.add(unit.model)
        else:
            expected.setdefault(unit.model, []).append(cost[0])
            most.append(cost[1])
    by_model = tuple((m, n, math.fsum(expected[m]) if m in expected else None) for m, n in sorted(calls.items()))
    judging_usd = math.fsum(judged)
    total = math.fsum(usd for _, _, usd in by_model if usd is not None) + judging_usd / 2
    return CostEstimate(len(todo), total, math.fsum(most) + judging_usd, judging_usd, tuple(sorted(unpriced)), by_model)

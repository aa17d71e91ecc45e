"""A log of made-up decisions with outcomes and scores, as long as wanted: for tests of what reads a log, and for benchmarks."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from learning.features import SCHEMA_VERSION, encode, to_bytes
from router.domain.decisions import Decision, Estimate, Exclusion, Expected
from router.domain.events import CostSource, Feedback, Outcome, Status, Write

_UNITS = 2**24
TASK_TYPES = ("code_generation", "summarization", "classification", "math_reasoning", "data_extraction", "quick_qa")
MODELS = ("acme/large-1", "acme/small-1", "borealis/north-70b", "borealis/north-8b", "cirrus/wind", "dune/sand-mini")


@dataclass(frozen=True, slots=True)
class LogPlan:
    """What the log is about. Deterministic in its values."""

    decisions: int
    seed: int = 0
    task_types: Sequence[str] = TASK_TYPES
    models: Sequence[str] = MODELS
    judges: Sequence[str] = ("unit-tests", "reviewer")
    start: float = 1_760_000_000.0
    """Unix time of the first decision."""
    every_s: float = 30.0
    scored: float = 0.4
    """Share of the answers that get a score."""
    reason: str = "best expected utility of {n} eligible models: quality {quality:.2f}, ${cost:.5f}, {latency:.1f} s expected"
    tags: tuple[tuple[str, str], ...] = ()
    episode_id: str | None = None
    excluded: int = 20
    """Models that each decision leaves out, with a reason."""


def written(plan: LogPlan) -> Iterator[list[Write]]:
    """Each decision with what became of it, in order. The later a decision, the likelier a good model for it."""
    rng = random.Random(plan.seed)
    models = sorted(plan.models)
    out = tuple(
        Exclusion(f"shelf/model-{i}", "max_cost", f"expected to cost ${i / 1000:.3f}, over the limit") for i in range(plan.excluded)
    )
    for i in range(plan.decisions):
        task = rng.randrange(len(plan.task_types))
        good = (task * 5 + 1) % len(models)
        trust = min(0.85, 0.2 + i / max(plan.decisions, 1))
        rest = (1 - trust) / max(len(models) - 1, 1)
        numerators = [int((trust if m == good else rest) * _UNITS) for m in range(len(models))]
        numerators[good] += _UNITS - sum(numerators)
        (chosen,) = rng.choices(range(len(models)), numerators)
        quality = 0.9 if chosen == good else 0.45 + 0.3 * chosen / len(models)
        cost, latency, at = 2e-4 * (1 + chosen) ** 2, 0.5 + 0.4 * chosen, plan.start + i * plan.every_s
        decision_id = f"dec_{plan.seed:04x}{i:028x}"
        tokens = rng.randrange(100, 4_000)
        records: list[Write] = [
            Decision(
                id=decision_id,
                at=at,
                task_type=plan.task_types[task],
                features_schema=SCHEMA_VERSION,
                features=to_bytes(encode(tokens)),
                request={"context_tokens": tokens, "weights": [1.0, 0.3, 0.1], "modalities": ["text"], "draw": rng.randrange(_UNITS)},
                eligible=tuple(models),
                propensities=tuple(n / _UNITS for n in numerators),
                model=models[chosen],
                propensity=numerators[chosen] / _UNITS,
                confidence=trust if chosen == good else rest,
                reason=plan.reason.format(n=len(models), quality=quality, cost=cost, latency=latency),
                policy="thompson",
                policy_version="made-up",
                policy_seq=0,
                catalog_version="made-up",
                episode_id=plan.episode_id,
                tags=plan.tags,
                excluded=out,
                expected=Expected(
                    Estimate(quality, quality - 0.08, min(quality + 0.08, 1.0)),
                    Estimate(cost, cost * 0.9, cost * 1.1),
                    Estimate(latency, latency * 0.8, latency * 1.3),
                ),
            )
        ]
        status = Status.OK if rng.random() < 0.97 else Status.ERROR
        ok = status is Status.OK
        took, spent = latency * rng.uniform(0.7, 1.4), cost * rng.uniform(0.6, 1.5)
        records.append(
            Outcome(
                decision_id, status, at + took, None, took if ok else None, 0.2 if ok else None, tokens if ok else None,
                rng.randrange(50, 900) if ok else None, spent if ok else None, CostSource.REPORTED if ok else None,
            )
        )  # fmt: skip
        if ok and rng.random() < plan.scored:
            score = float(rng.random() < quality)
            records.append(Feedback(f"fb_{plan.seed:04x}{i:028x}", decision_id, rng.choice(plan.judges), "quality", score, at + took + 60))
        yield records


def groups(plan: LogPlan, size: int = 500) -> Iterator[list[Write]]:
    """The same in groups to commit."""
    group: list[Write] = []
    for records in written(plan):
        group += records
        if len(group) >= size:
            yield group
            group = []
    if group:
        yield group

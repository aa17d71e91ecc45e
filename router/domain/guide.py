"""The model selection guide: what was measured, what is inferred from it, what nobody knows, and which test would tell most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from learning.choice import Preference
from learning.next_test import gain_of_testing
from learning.posterior import Posterior
from learning.rules import Interval, ModelPreference, Status, TaskPreferences, preferences
from learning.targets import Target
from router.domain.battery import specialist_elsewhere
from router.domain.catalog import Catalog
from router.domain.measured import Measure
from router.domain.measurements import Measured, Measurements, by_task
from router.domain.models import Model
from router.domain.offers import offers_of
from router.domain.tasks import needed_modalities

ENOUGH = 5
"""Scores from which a cell counts as measured."""
TESTED_CASES = 20
"""Cases of a further test."""
_TESTS_SHOWN, _TESTS_PER_TYPE = 8, 3
_NEAR = 0.03
"""Loss of quality that the cheapest good model may have."""


class State(StrEnum):
    """Where a figure comes from."""

    MEASURED = "measured"
    """From at least five scores of the model on the task type."""
    INFERRED = "inferred"
    """From its scores elsewhere and from other models' on the task type."""
    UNKNOWN = "unknown"
    """The model was never scored on anything: only its price and its published ratings speak."""
    SKIPPED = "skipped"
    """It has no business with such tasks."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rows of the log behind a cell's figures."""

    query: str
    """Lists them all."""
    first_seq: int
    last_seq: int
    scores: int
    decision_ids: tuple[str, ...]
    """The latest of them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one task type."""

    model: str
    state: State
    quality: Measure | None
    """Measured: the mean score with its interval. Otherwise what is believed, with n = 0."""
    cost_usd: Measure | None
    """Per call: measured, otherwise expected with n = 0; None where unknown."""
    latency_s: Measure | None
    tokens_per_s: float | None
    failed: int
    probability_best: float | None
    reason: str | None = None
    """Of a skipped one."""
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class TaskGuide:
    """One task type."""

    task_type: str
    scores: int
    recommended: str | None
    """Among the measured models, for the guide's weights; None where none is measured."""
    status: Status
    flip: str
    difference: Interval | None
    """Utility of the recommended model minus that of the runner-up."""
    runner_up: str | None
    best_quality: str | None
    cheapest_good: str | None
    """The cheapest measured model that is within 0.03 of the best measured quality."""
    fastest: str | None
    cells: tuple[Cell, ...]
    """Measured ones by what they are worth, then the inferred, the unknown and the skipped."""


@dataclass(frozen=True, slots=True)
class NextTest:
    """Twenty more cases of one task type on one model."""

    task_type: str
    model: str
    gain: float
    """Expected rise of utility per task of the type, from choosing better afterwards."""
    cost_usd: float | None
    state: State


@dataclass(frozen=True, slots=True)
class Guide:
    """All task types with scores, as of log position ``seq``."""

    seq: int
    digest: str
    weights: Mapping[str, float]
    scores: int
    task_types: tuple[TaskGuide, ...]
    next_tests: tuple[NextTest, ...]
    """Those that buy most first."""


def assemble(
    measurements: Measurements,
    posterior: Posterior,
    catalog: Catalog,
    preference: Preference,
    *,
    weights: Mapping[str, float],
    digest: str,
) -> Guide:
    """Put the guide together from what was measured and what is believed, both as of the same log position or nearly so."""
    guides: list[TaskGuide] = []
    tests: list[NextTest] = []
    seen = {posterior.models[m] for m in np.flatnonzero(_labels_by_model(posterior) > 0).tolist()}
    for task_type, found in by_task(measurements.cells).items():
        guide, further = _task(task_type, found, posterior, catalog, preference, seen, measurements.seq)
        guides.append(guide)
        tests += further
    return Guide(measurements.seq, digest, weights, measurements.scores(), tuple(guides), _best_tests(tests))


def _best_tests(tests: list[NextTest]) -> tuple[NextTest, ...]:
    """Those that buy most, a few of each task type at most."""
    chosen: list[NextTest] = []
    for test in sorted(tests, key=lambda test: (-test.gain, test.task_type, test.model)):
        alike = sum(other.task_type == test.task_type for other in chosen)
        if alike < _TESTS_PER_TYPE and test.gain > 0 and len(chosen) < _TESTS_SHOWN:
            chosen.append(test)
    return tuple(chosen)


def suits(model: Model, task_type: str) -> str | None:
    """Why a model has no business with a task type; None where it has."""
    if missing := sorted(needed_modalities(task_type) - model.modalities):
        return f"it does not read {' or '.join(missing)}"
    return specialist_elsewhere(model, task_type)


def _labels_by_model(posterior: Posterior) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    labels = np.concatenate([[0.0], posterior.labels])
    total: np.ndarray[tuple[int], np.dtype[np.float64]] = labels[posterior.cells].sum(axis=1)
    return total


def _task(
    task_type: str,
    found: Mapping[str, Measured],
    posterior: Posterior,
    catalog: Catalog,
    preference: Preference,
    seen: set[str],
    seq: int,
) -> tuple[TaskGuide, list[NextTest]]:
    reasons = {model.id: suits(model, task_type) for model in catalog.active}
    suited = [model for model in catalog.active if reasons[model.id] is None or model.id in found]
    fit = [model for model in suited if model.id in posterior.model_index]
    enough = [model for model in fit if model.id in found and found[model.id].scored >= ENOUGH]
    believed = preferences(posterior, offers_of(fit, posterior), task_type, preference)
    chosen = preferences(posterior, offers_of(enough, posterior), task_type, preference) if enough else believed
    best = {entry.model: entry.probability_best for entry in chosen.models}
    cells = [_measured_cell(entry.model, found[entry.model], best[entry.model], task_type, seq) for entry in chosen.models if enough]
    for entry in believed.models:
        if entry.model not in {cell.model for cell in cells}:
            state = State.INFERRED if entry.model in seen else State.UNKNOWN
            evidence = _evidence(task_type, entry.model, found[entry.model], seq) if entry.model in found else None
            cells.append(_believed_cell(entry, state, evidence))
    cells.sort(key=lambda cell: list(State).index(cell.state))
    strangers = [Cell(model.id, State.UNKNOWN, None, None, None, None, 0, None) for model in suited if model not in fit]
    skipped = [Cell(m, State.SKIPPED, None, None, None, None, 0, None, why) for m, why in reasons.items() if why and m not in found]
    measured = cells[: len(enough)]
    guide = TaskGuide(
        task_type=task_type,
        scores=sum(cell.scored for cell in found.values()),
        recommended=chosen.recommended if enough else None,
        status=chosen.status if enough else Status.PRIOR_ONLY,
        flip=chosen.flip if enough else "nothing is measured yet",
        difference=chosen.difference if enough else None,
        runner_up=chosen.runner_up if enough else None,
        best_quality=_best_quality(measured),
        cheapest_good=_cheapest_good(measured),
        fastest=max((c for c in measured if c.tokens_per_s), key=lambda c: c.tokens_per_s or 0.0, default=_NOBODY).model or None,
        cells=(*cells, *strangers, *skipped),
    )
    return guide, _tests(task_type, believed, {model.id for model in enough}, cells, posterior, preference)


_NOBODY = Cell("", State.UNKNOWN, None, None, None, None, 0, None)


def _measured_cell(model: str, cell: Measured, probability_best: float, task_type: str, seq: int) -> Cell:
    return Cell(
        model=model,
        state=State.MEASURED,
        quality=cell.quality,
        cost_usd=cell.cost_usd,
        latency_s=cell.latency_s,
        tokens_per_s=cell.tokens_per_s,
        failed=cell.failed,
        probability_best=probability_best,
        evidence=_evidence(task_type, model, cell, seq),
    )


def _evidence(task_type: str, model: str, cell: Measured, seq: int) -> Evidence:
    query = f"GET /v1/decisions?task_type={task_type}&model={model}&before_seq={seq + 1}"
    return Evidence(query, cell.first_seq, cell.last_seq, cell.scored, tuple(cell.ids))


def _believed_cell(entry: ModelPreference, state: State, evidence: Evidence | None) -> Cell:
    return Cell(
        model=entry.model,
        state=state,
        quality=Measure(0, entry.quality.mean, entry.quality.low, entry.quality.high),
        cost_usd=None if entry.cost_usd is None else Measure(0, entry.cost_usd, entry.cost_usd, entry.cost_usd),
        latency_s=None if entry.latency_s is None else Measure(0, entry.latency_s, entry.latency_s, entry.latency_s),
        tokens_per_s=None,
        failed=0,
        probability_best=None,
        evidence=evidence,
    )


def _best_quality(measured: Sequence[Cell]) -> str | None:
    return max((c for c in measured if c.quality), key=lambda c: c.quality.mean if c.quality else 0.0, default=_NOBODY).model or None


def _cheapest_good(measured: Sequence[Cell]) -> str | None:
    top = max((c.quality.mean for c in measured if c.quality), default=0.0)
    good = [(c.cost_usd.mean, c.model) for c in measured if c.quality and c.cost_usd and c.quality.mean >= top - _NEAR]
    return min(good)[1] if good else None


def _tests(
    task_type: str,
    believed: TaskPreferences,
    enough: set[str],
    cells: Sequence[Cell],
    posterior: Posterior,
    preference: Preference,
) -> list[NextTest]:
    """What twenty more cases of each model would be worth, beside choosing among the measured ones."""
    entries = believed.models
    mean = np.array([entry.utility for entry in entries])
    sd = np.array([max(entry.utility_sd, 1e-6) for entry in entries])
    rivals = np.array([entry.model in enough for entry in entries])
    if not rivals.any():
        return []
    noise = preference.quality * float(np.sqrt(posterior.noise(Target.QUALITY, posterior.task(task_type))))
    states = {cell.model: cell.state for cell in cells}
    return [
        NextTest(
            task_type,
            entry.model,
            gain_of_testing(mean, sd, i, noise, TESTED_CASES, rivals),
            None if entry.cost_usd is None else TESTED_CASES * entry.cost_usd,
            states[entry.model],
        )
        for i, entry in enumerate(entries)
    ]

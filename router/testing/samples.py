"""A log to try things on: a simulated world of models, decided and learned by the service's own code."""

from collections.abc import Callable

import numpy as np

from learning.simulation import World
from router.domain.models import Model, Price
from router.domain.tasks import Task, Weights
from router.logbook import Logbook
from router.testing.rehearsal import Answer, Rehearsal

_MTOK = 1e6
TYPES = ("classification", "code_generation", "math_reasoning", "summarization")


def sample_world(seed: int = 0, models: int = 6) -> World:
    """Models whose dearer ones tend to be better, and four task types."""
    rng = np.random.default_rng([seed, 5])
    return World.draw(rng, n_models=models, n_task_types=len(TYPES), cell_sd=0.08)


def catalogue_of(world: World) -> list[Model]:
    """The world's models, at its prices."""
    return [
        Model(f"lab/{name}", "lab", name, "lab", 128_000, price=Price(float(a) * _MTOK, float(b) * _MTOK))
        for name, a, b in zip(world.models, world.input_price, world.output_price, strict=True)
    ]


def sample_log(
    decisions: int = 1_000, seed: int = 0, *, scored: float = 0.6, weights: Weights | None = None, **settings: object
) -> Logbook:
    """A log of that many decisions, in memory; ``settings`` as in ``rehearsal.SETTINGS``."""
    world, rng = sample_world(seed), np.random.default_rng([seed, 6])
    made, wanted = Rehearsal(catalogue_of(world), dict(settings), seed=seed), weights or Weights()

    def answer_for(kind: int) -> Callable[[str], Answer]:
        def answer(model: str) -> Answer:
            told = world.call(rng, model.removeprefix("lab/"), world.task_types[kind])
            quality = told.quality if rng.random() < scored else None
            return Answer(quality, told.cost_usd, told.latency_s, 1_000, told.output_tokens, told.failed)

        return answer

    for _ in range(decisions):
        kind = int(rng.integers(len(TYPES)))
        made.step(Task(TYPES[kind], 1_000, weights=wanted), answer_for(kind))
    return Logbook(made.store, wanted)

"""Do Pointsman's 90 % intervals of quality hold what they say? Simulated worlds, in which the truth is known."""

from dataclasses import dataclass

import numpy as np

from learning.choice import Z90
from learning.features import TYPICAL_CONTEXT_TOKENS, encode
from learning.policies import make
from learning.simulation import World, play
from learning.targets import Target


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of (model, task type) pairs whose true quality lies inside its interval at the end of a pass."""

    share: float
    by_world: tuple[float, ...]
    pairs: int

    def __str__(self) -> str:
        low, high = min(self.by_world), max(self.by_world)
        return (
            f"nominal 90 % intervals cover {self.share:.1%} of {self.pairs} (model, task type) pairs in {len(self.by_world)} simulated "
            f"worlds (worst and best world {low:.0%}, {high:.0%})"
        )


def in_world(seed: int, steps: int) -> list[bool]:
    """For every pair of one world: does the interval hold the truth?"""
    rng = np.random.default_rng([seed, 21])
    world = World.draw(rng, n_models=int(rng.integers(4, 13)), n_task_types=int(rng.integers(2, 7)))
    made = play(world, make("thompson"), steps, rng, targets=(Target.QUALITY,), feedback_rate=float(rng.choice([1.0, 0.3])))
    posterior, x = made.learner.posterior(), encode(TYPICAL_CONTEXT_TOKENS)
    rows = np.array([posterior.model_index[m] for m in world.models])
    truth, inside = world.quality(), []
    for t, name in enumerate(world.task_types):
        task = posterior.task(name)
        mean, variance = posterior.predict(Target.QUALITY, task, x)
        half = Z90 * np.sqrt(posterior.interval_variance(Target.QUALITY, task, variance))
        inside += (np.abs(mean[rows] - truth[:, t]) <= half[rows]).tolist()
    return inside


def summarise(worlds: list[list[bool]]) -> Coverage:
    """All worlds together."""
    every = [held for world in worlds for held in world]
    return Coverage(float(np.mean(every)), tuple(float(np.mean(w)) for w in worlds), len(every))

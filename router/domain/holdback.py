"""The randomised holdback: the share of the traffic that goes to the baseline, so that what routing gains can be measured."""

from learning.propensities import SCALE, uniform_draw
from router.domain.tasks import Task

ROUTED, BASELINE = "routed", "baseline"
_SALT = b"pointsman holdback"
"""The arms are the same whatever the salt of the draws."""


def arm_of(task: Task, decision_id: str, share: float) -> str | None:
    """The arm of the experiment; None outside it. A whole episode is in one arm, on every service and after every restart."""
    if not share or task.policy is not None:
        return None
    return BASELINE if uniform_draw(_SALT, task.episode_id or decision_id) < share * SCALE else ROUTED

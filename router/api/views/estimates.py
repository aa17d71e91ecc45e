"""What is expected, in answers."""

from router.api.views.view import View


class Estimate(View):
    """A mean with its 90 % interval."""

    mean: float
    low: float
    high: float


class Expected(View):
    """What a model is expected to do on this task; null where nothing is known."""

    quality: Estimate
    cost_usd: Estimate | None
    latency_s: Estimate | None

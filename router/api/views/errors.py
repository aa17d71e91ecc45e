"""The shape of every refusal."""

from router.api.views.view import View


class ErrorDetail(View):
    """What is wrong, where, and what to do instead. Never repeats what was sent."""

    type: str
    message: str
    field: str | None
    remedy: str | None


class ErrorAnswer(View):
    """Every refusal has this shape."""

    error: ErrorDetail

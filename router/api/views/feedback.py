"""What acknowledges outcomes and scores."""

from router.api.views.errors import ErrorDetail
from router.api.views.view import View


class OutcomeAnswer(View):
    """An acknowledged outcome."""

    decision_id: str
    seq: int
    repeated: bool


class FeedbackAnswer(View):
    """An acknowledged score."""

    feedback_id: str
    decision_id: str
    seq: int
    revision: int
    repeated: bool


class ChangeAnswer(View):
    """An acknowledged correction or retraction."""

    feedback_id: str
    seq: int
    revision: int
    repeated: bool


class OutcomeItem(OutcomeAnswer):
    """An item of a list that was taken."""

    item: int


class FeedbackItem(FeedbackAnswer):
    """An item of a list that was taken."""

    item: int


class RefusedItem(View):
    """An item of a list that was not taken."""

    item: int
    status: int
    error: ErrorDetail


class OutcomeResults(View):
    """The results of a list."""

    results: list[OutcomeItem | RefusedItem]


class FeedbackResults(View):
    """The results of a list, an episode or a preference."""

    results: list[FeedbackItem | RefusedItem]

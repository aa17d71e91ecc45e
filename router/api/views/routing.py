"""The answer that names a model."""

from pydantic import Field

from router.api.views.estimates import Expected
from router.api.views.view import View


class Alternative(View):
    """An eligible model that was not drawn."""

    model: str
    expected: Expected
    utility: float
    propensity: float
    probability_best: float
    flip: str = Field(description="What would have made this model the choice.")


class Exclusion(View):
    """A model that was left out."""

    model: str
    code: str
    reason: str


class PolicyRef(View):
    """Which policy decided, in which version, with what it had learned up to which log position."""

    name: str
    version: str
    seq: int


class Chosen(View):
    """What was decided, wherever it is told."""

    decision_id: str
    logged: bool = Field(description="False: the log was away, and nothing can be reported about this decision.")
    provider: str
    model: str
    confidence: float = Field(description="Probability of being the best eligible model.")
    propensity: float = Field(description="Exact probability with which this model was drawn.")
    reason: str
    fallback: bool
    expected: Expected | None
    excluded: list[Exclusion]
    policy: PolicyRef
    task_type: str
    features_schema: int
    episode_id: str | None


class RouteAnswer(Chosen):
    """The decision."""

    alternatives: list[Alternative]

"""What judges are known by, in answers."""

from pydantic import Field

from router.api.views.estimates import Estimate
from router.api.views.view import View


class CalibrationView(View):
    """What the learner makes of a judge: a score s counts as offset + slope * s."""

    offset: float
    slope: float
    noise_sd: float
    shared: float = Field(description="Answers that a trusted judge scored too, as of now.")


class MovedView(View):
    """The recent quarter of a judge's scores against those before."""

    difference: Estimate
    basis: str
    recent: int
    before: int
    sure: bool = Field(description="By more than three standard errors.")


class JudgeView(View):
    """One judge, on the metric quality."""

    judge: str
    trusted: bool
    scores: int
    mean: float
    sd: float
    models: int
    cost_usd: float = Field(description="As far as it is known.")
    sampled: int = Field(description="Scores of answers that were drawn to be judged, with a known probability.")
    mean_sampling: float | None
    flips: float | None = Field(description="Share of the comparisons that the order of the answers decided.")
    comparisons: int
    moved: MovedView | None = Field(description="null: too few scores to say.")
    calibration: CalibrationView | None = Field(description="null: it shares no answers with a trusted judge, or is one.")


class AgreementView(View):
    """Two judges of the same answers."""

    first: str
    second: str
    shared: int
    difference: Estimate = Field(description="Mean of the first one's score minus the second's.")
    correlation: float | None
    close: float = Field(description="Share of the answers on which they are within 0.1.")


class OnlineJudging(View):
    """The judging of executed calls since the service started."""

    share: float
    models: list[str]
    budget_usd_per_day: float
    seen: int
    drawn: int
    judged: int
    unreadable: int
    failed: int
    passed_over: dict[str, int] = Field(description="Not drawn whatever the draw, by reason.")
    spent_usd: float = Field(description="Today (UTC).")
    waiting: int


class JudgesAnswer(View):
    """Who scores answers, and how far that can be relied on."""

    after_seq: int
    upto: int
    judges: list[JudgeView]
    agreements: list[AgreementView]
    online: OnlineJudging | None

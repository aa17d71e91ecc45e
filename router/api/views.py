"""What callers get, for the documentation: the answers themselves are written straight from the domain's values."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _View(BaseModel):
    model_config = ConfigDict(defer_build=True)  # a start does not wait for what only the documentation shows


class Estimate(_View):
    """A mean with its 90 % interval."""

    mean: float
    low: float
    high: float


class Expected(_View):
    """What a model is expected to do on this task; null where nothing is known."""

    quality: Estimate
    cost_usd: Estimate | None
    latency_s: Estimate | None


class Alternative(_View):
    """An eligible model that was not drawn."""

    model: str
    expected: Expected
    utility: float
    propensity: float
    probability_best: float
    flip: str = Field(description="What would have made this model the choice.")


class Exclusion(_View):
    """A model that was left out."""

    model: str
    code: str
    reason: str


class PolicyRef(_View):
    """Which policy decided, in which version, with what it had learned up to which log position."""

    name: str
    version: str
    seq: int


class _Chosen(_View):
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


class RouteAnswer(_Chosen):
    """The decision."""

    alternatives: list[Alternative]


class AssignedView(_View):
    """Agents of one group on one model; the estimates are of one call."""

    group: int = Field(description="Position of the group in the request.")
    agents: str
    task_type: str
    model: str
    count: int
    calls: int = Field(description="Of all of them.")
    scores: int = Field(description="Of this model on this task type, so far; 0: its quality is inferred.")
    quality: Estimate
    cost_usd: Estimate
    latency_s: Estimate
    total_usd: float = Field(description="calls times cost_usd.mean")
    relaxed: list[str] = Field(description="Limits of the task that no model meets and that were given up.")


class PlanTotals(_View):
    """What a whole assignment comes to, with 90 % intervals."""

    cost_usd: Estimate
    quality: Estimate = Field(description="Mean over the calls.")
    latency_s: Estimate = Field(description="Mean over the calls.")
    longest_s: float = Field(description="Expected of the slowest kind of call.")


class PlanComparison(_View):
    """All agents on one model, beside the plan."""

    model: str
    totals: PlanTotals
    cost_saved_usd: float
    cost_ratio: float | None = Field(description="The plan's cost as a share of this one's.")
    quality_difference: Estimate = Field(description="The plan's minus this one's.")
    latency_difference_s: float
    breaks: list[str] = Field(description="Limits that it would break.")


class LimitUseView(_View):
    """A joint limit and how much of it the plan uses."""

    name: str
    at_most: float
    used: float


class PlannedDecision(_View):
    """The decision that was logged for one agent."""

    decision_id: str
    agents: str
    model: str


class PlanAnswer(_View):
    """A model for every agent."""

    name: str
    goal: str
    agents: int
    calls: int
    assigned: list[AssignedView]
    totals: PlanTotals
    limits: list[LimitUseView]
    min_quality: float | None
    comparisons: list[PlanComparison] = Field(description="The baseline first.")
    not_comparable: dict[str, str]
    seq: int = Field(description="Log position of what was learned.")
    decisions: list[PlannedDecision] = Field(description="One per agent; none where dry_run is true.")


class CalibrationView(_View):
    """What the learner makes of a judge: a score s counts as offset + slope * s."""

    offset: float
    slope: float
    noise_sd: float
    shared: float = Field(description="Answers that a trusted judge scored too, as of now.")


class MovedView(_View):
    """The recent quarter of a judge's scores against those before."""

    difference: Estimate
    basis: str
    recent: int
    before: int
    sure: bool = Field(description="By more than three standard errors.")


class JudgeView(_View):
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


class AgreementView(_View):
    """Two judges of the same answers."""

    first: str
    second: str
    shared: int
    difference: Estimate = Field(description="Mean of the first one's score minus the second's.")
    correlation: float | None
    close: float = Field(description="Share of the answers on which they are within 0.1.")


class OnlineJudging(_View):
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


class JudgesAnswer(_View):
    """Who scores answers, and how far that can be relied on."""

    after_seq: int
    upto: int
    judges: list[JudgeView]
    agreements: list[AgreementView]
    online: OnlineJudging | None


class Eligible(_View):
    """An eligible model and the probability it was drawn with."""

    model: str
    propensity: float


class OutcomeView(_View):
    """What the call did."""

    decision_id: str
    status: str
    at: float
    model: str | None
    latency_s: float | None
    ttft_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None = Field(description="With every correction.")
    cost_source: Literal["reported", "computed"] | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    images: int | None
    hardware_s: float | None


class AttemptTold(_View):
    """One provider call, in an answer."""

    model: str
    status: str
    error: str | None
    latency_s: float | None
    forced: bool


class AttemptView(AttemptTold):
    """One provider call, as the log tells it."""

    decision_id: str
    number: int
    at: float
    last: bool
    http_status: int | None
    ttft_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    estimated: bool = Field(description="true: our own count, since the provider never told.")
    request_id: str | None


class RouterTold(_View):
    """What was decided and what it took."""

    decision_id: str
    chosen: str
    model: str = Field(description="The one that answered.")
    reason: str
    propensity: float
    forced: bool
    fallback: bool
    task_type: str
    cost_usd: float | None
    attempts: list[AttemptTold]


class ChatAnswer(BaseModel, extra="allow"):
    """OpenAI's chat completion with a `router` object; with `stream: true` its chunks as server-sent events."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None
    router: RouterTold


class ScoreView(_View):
    """One revision of a score; null = retracted."""

    id: str
    seq: int
    revision: int
    judge: str
    metric: str
    score: float | None
    weight: float
    at: float
    cost_usd: float | None = Field(description="Of judging.")
    sampling: float | None = Field(description="Probability with which the answer was drawn to be judged; null where nobody drew.")


class WeighedView(_View):
    """What was expected of one eligible model, and what that was worth to the request."""

    model: str
    expected: Expected
    failure_rate: float
    utility: float
    utility_sd: float
    probability_best: float


class AuditedView(_View):
    """One model that was eligible."""

    model: str
    weighed: WeighedView
    propensity: float
    draws: tuple[int, int] | None = Field(description="The 24-bit draws, first included and last not, that choose it.")


class AuditView(_View):
    """The decision, taken once more from the log."""

    decision_id: str
    exact: bool | None = Field(description="Whether it came out the same to the last bit; null where it was not recomputed.")
    differences: tuple[str, ...]
    why_not: str | None
    model: str | None
    propensity: float | None
    draw: int | None
    policy_seq: int
    state_digest: str | None = Field(description="Of the learned state it was taken from.")
    models: tuple[AuditedView, ...]
    alternatives: tuple[Alternative, ...]


class SaidView(_View):
    """A score that was given, corrected or (null) retracted."""

    seq: int
    decision_id: str
    model: str
    judge: str
    score: float | None


class StandingView(_View):
    """The preferences at a position of the log."""

    seq: int
    at: float | None
    preferences: dict[str, Any] = Field(description="As in `/v1/policy/{task_type}`.")


class MoveView(_View):
    """What moved the expected quality of one model between two positions."""

    from_seq: int
    to_seq: int
    model: str
    before: float
    after: float
    scores: int
    mean_score: float | None
    failures: int
    because: str


class TurnView(_View):
    """The recommendation changed between two positions."""

    from_seq: int
    to_seq: int
    before: str | None
    after: str | None
    scores: tuple[SaidView, ...]


class HistoryView(_View):
    """The course of one task type."""

    task_type: str
    points: tuple[StandingView, ...]
    moves: tuple[MoveView, ...]
    turns: tuple[TurnView, ...]


class DecisionView(_Chosen):
    """A decision as the log tells it."""

    seq: int
    at: float = Field(description="Unix time in seconds.")
    forced: bool
    request: dict[str, Any]
    tags: dict[str, str]
    features: list[float]
    eligible: list[Eligible]
    catalog_version: str
    outcome: OutcomeView | None
    attempts: list[AttemptView]
    feedback: list[ScoreView]
    recomputed: AuditView | None = Field(default=None, description="Of one decision, unless `recompute=false`.")


class DecisionPage(_View):
    """A page of decisions, newest first."""

    decisions: list[DecisionView]
    next_before_seq: int | None


class OutcomeAnswer(_View):
    """An acknowledged outcome."""

    decision_id: str
    seq: int
    repeated: bool


class FeedbackAnswer(_View):
    """An acknowledged score."""

    feedback_id: str
    decision_id: str
    seq: int
    revision: int
    repeated: bool


class ChangeAnswer(_View):
    """An acknowledged correction or retraction."""

    feedback_id: str
    seq: int
    revision: int
    repeated: bool


class ErrorDetail(_View):
    """What is wrong, where, and what to do instead. Never repeats what was sent."""

    type: str
    message: str
    field: str | None
    remedy: str | None


class ErrorAnswer(_View):
    """Every refusal has this shape."""

    error: ErrorDetail


class OutcomeItem(OutcomeAnswer):
    """An item of a list that was taken."""

    item: int


class FeedbackItem(FeedbackAnswer):
    """An item of a list that was taken."""

    item: int


class RefusedItem(_View):
    """An item of a list that was not taken."""

    item: int
    status: int
    error: ErrorDetail


class OutcomeResults(_View):
    """The results of a list."""

    results: list[OutcomeItem | RefusedItem]


class FeedbackResults(_View):
    """The results of a list, an episode or a preference."""

    results: list[FeedbackItem | RefusedItem]


class PriceView(_View):
    """USD per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None
    cache_write_usd_per_mtok: float | None
    reasoning_usd_per_mtok: float | None
    usd_per_image: float | None
    usd_per_hardware_s: float | None
    effective_from: str
    source: str
    checked: str


class SpeedView(_View):
    """Published speed."""

    ttft_s: float
    output_tokens_per_s: float
    source: str
    checked: str


class _Facts(_View):
    id: str
    provider: str
    name: str
    family: str
    context_window: int
    max_output_tokens: int | None
    modalities: list[str]
    capabilities: list[str]
    price: PriceView | None = Field(description="null = unknown, which is not free.")
    speed: SpeedView | None
    source: str
    checked: str
    retired: bool
    version: int
    tags: list[str]


class ModelView(_Facts):
    """A model of the catalogue, in OpenAI's shape."""

    object: Literal["model"]
    created: int
    owned_by: str


class ModelVersionView(_Facts):
    """A model as it was from ``at`` on."""

    at: float


class ModelHistory(ModelView):
    """A model with its versions."""

    versions: list[ModelVersionView]


class UnavailableProvider(_View):
    """A provider that cannot be called, and what to do about it."""

    provider: str
    remedy: str
    models: int


class ModelList(_View):
    """The models that can be called; where no provider can, the whole catalogue, to choose from."""

    object: Literal["list"]
    data: list[ModelView]
    unavailable: list[UnavailableProvider]
    catalog_version: str


class Health(_View):
    """Alive."""

    status: Literal["ok"]


class WriterState(_View):
    """The queue in front of the log."""

    waiting: int
    max: int


class CatalogState(_View):
    """The catalogue in use."""

    version: str
    active_models: int


class Readiness(_View):
    """Able to decide and to keep what it decides."""

    status: Literal["ready"]
    seq: int = Field(description="Log position up to which the log is learned.")
    lag: int = Field(description="Events committed and not yet learned.")
    digest: str = Field(description="Of the learned state: equal wherever the same log is learned.")
    schema_revision: str
    durability: Literal["full", "normal", "none"]
    writer: WriterState
    catalog: CatalogState


class IncidentView(_View):
    """A model has changed. Tokens and seconds are typical values (geometric means)."""

    status: Literal["open", "closed"]
    model: str
    task_type: str | None = Field(description="null = on its task types taken together.")
    target: Literal["quality", "output_tokens", "latency_s"]
    direction: Literal["up", "down"]
    before: Estimate = Field(description="What was expected of the calls since the change.")
    after: Estimate = Field(description="What they brought.")
    log10_e: float = Field(description="How sure: base-10 logarithm of the e-value against no change; 4 = at most 1 in 10,000 by chance.")
    alarms: int
    opened_seq: int = Field(description="Log position of the decision that gave it away.")
    since_seq: int = Field(description="Estimated log position of the change.")
    latest_seq: int = Field(description="Log position of the latest alarm.")
    closed_seq: int | None


class IncidentList(_View):
    """Incidents, newest first."""

    incidents: list[IncidentView]
    seq: int = Field(description="Log position up to which the log is learned.")


class PolicyView(BaseModel, extra="allow"):
    """What is learned, per task type and model."""

    seq: int
    digest: str
    policy: str
    policy_version: str
    task_types: list[dict[str, Any]]

"""What callers may send. Strict: unknown fields, wrong types, NaN and values out of range are refused by name."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from router.api.refusals import refuse
from router.domain.budgets import MOST
from router.domain.keys import NAME as KEY_NAME
from router.domain.keys import Scope
from router.domain.models import Capability, Modality
from router.domain.tasks import NAME, Speed

MAX_BATCH = 1000
MAX_TOKENS = 100_000_000

Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$", max_length=128)]
Id = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=128)]
ModelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*/[!-~]+$", max_length=200)]
Provider = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=200)]
Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?$")]
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Usd = Annotated[float, Field(ge=0, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=100)]


class Body(BaseModel):
    """Base of everything that is read from a request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Preset(StrEnum):
    """A named set of weights."""

    BEST = "best"
    BALANCED = "balanced"
    CHEAP = "cheap"
    FAST = "fast"


class Weights(Body):
    """What the request values; utility = quality * q - cost * usd / cost_reference - latency * s / latency_reference.

    What is left out takes the service's default.
    """

    quality: Weight | None = None
    cost: Weight | None = None
    latency: Weight | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.quality == 0 and self.cost == 0 and self.latency == 0:
            raise refuse("quality", "all weights are 0, so every model would be equal", "give at least one weight above 0")
        return self


class Constraints(Body):
    """Hard limits: a model that breaks one is left out, and the answer says why."""

    max_cost_usd: Usd | None = Field(default=None, description="USD for this call.")
    max_latency_s: Annotated[float, Field(gt=0, le=86_400)] | None = Field(default=None, description="Seconds for the whole answer.")
    min_quality: Share | None = Field(default=None, description="Expected quality in [0, 1].")
    models: Annotated[frozenset[ModelId], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Only these models."
    )
    exclude: Annotated[frozenset[ModelId], Field(max_length=1000)] = Field(default=frozenset(), description="Never these models.")
    providers: Annotated[frozenset[Provider], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Only these providers."
    )


class Part(BaseModel):
    """A part of a message; only its kind and its text are looked at."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    type: Annotated[str, StringConstraints(max_length=64)]
    text: str | None = None


def _shape_of_content(value: Any) -> str:
    return "shape:text" if isinstance(value, str) else "shape:null" if value is None else "shape:parts"


class Message(BaseModel):
    """A chat message in OpenAI's shape; its text is used to name and count the task, then dropped."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    role: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    content: Annotated[
        Annotated[str, Tag("shape:text")] | Annotated[list[Part], Tag("shape:parts")] | Annotated[None, Tag("shape:null")],
        Discriminator(_shape_of_content),
    ] = None


def _shape_of_weights(value: Any) -> str:
    return "shape:preset" if isinstance(value, str) else "shape:object"


class RouteRequest(Body):
    """A task to route. Give ``task_type``, or text from which it can be named; text is never stored."""

    task_type: Name | None = Field(default=None, description="Any name. Named from the text if left out.")
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)] | None = None
    prompt: Annotated[str, StringConstraints(min_length=1)] | None = None
    context_tokens: Tokens | None = Field(default=None, description="Counted from the text if left out.")
    expected_output_tokens: Tokens | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    needs: frozenset[Capability] = frozenset()
    modalities: frozenset[Modality] = Field(
        default=frozenset(), description="Of the input; images and audio in `messages` are seen by themselves."
    )
    speed: Speed | None = Field(
        default=None, description="ultra_fast < 0.5 s, fast < 2 s, balanced < 10 s, quality < 30 s for the whole answer."
    )
    constraints: Constraints = Constraints()
    weights: (
        Annotated[
            Annotated[Weights, Tag("shape:object")] | Annotated[Preset, Tag("shape:preset")],
            Discriminator(_shape_of_weights),
        ]
        | None
    ) = Field(default=None, description="Numbers, or best, balanced, cheap or fast.")
    policy: Name | None = Field(default=None, description="Name of a registered policy instead of the service's own.")
    explore: bool = Field(default=True, description="false: take the model with the best expected utility.")
    allow_fallback: bool = Field(
        default=True, description="Where no model is eligible, the fallback answers, of the models and providers allowed here; false: 422."
    )
    episode_id: Id | None = Field(default=None, description="Groups the decisions of one run; feedback can be given to the whole.")
    tags: Annotated[dict[Name, Line], Field(max_length=16)] = Field(
        default_factory=dict, description="Stored with the decision: no text of a prompt."
    )

    @model_validator(mode="after")
    def _describes_a_task(self) -> Self:
        if self.messages is not None and self.prompt is not None:
            raise refuse("prompt", "messages and prompt are both given", "send one of them")
        if self.task_type is None and self.messages is None and self.prompt is None:
            raise refuse("task_type", "task_type is missing", "send task_type, or messages or prompt from which it can be named")
        return self


class OutcomeIn(Body):
    """What one call did."""

    decision_id: Id
    status: Literal["ok", "error", "timeout", "cancelled"] = Field(default="ok", description="cancelled = by the caller.")
    model: ModelId | None = Field(default=None, description="The model that served, where it is not the decision's.")
    latency_s: Seconds | None = None
    ttft_s: Seconds | None = Field(default=None, description="Seconds to the first token.")
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cost_usd: Usd | None = None


class Verdict(StrEnum):
    """A score in words: 1, 0.5 and 0."""

    GOOD = "good"
    ACCEPTABLE = "acceptable"
    BAD = "bad"


Comment = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=2000)]


class FeedbackIn(Body):
    """A score for a decision, or for every decision of an episode."""

    decision_id: Id | None = None
    episode_id: Id | None = None
    score: Share | None = Field(default=None, description="0 = useless, 1 = as good as it gets.")
    verdict: Verdict | None = None
    preferred_over: Id | None = Field(default=None, description="Another decision whose answer was worse than this one's.")
    judge: Annotated[str, StringConstraints(pattern=f"^{NAME}$", max_length=100)] = "user"
    metric: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]*$", max_length=64)] = "quality"
    comment: Comment | None = Field(default=None, description="Dropped unless the operator keeps text.")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.decision_id is None) == (self.episode_id is None):
            raise refuse("decision_id", "exactly one of decision_id and episode_id is needed", "send the decision_id of a routing answer")
        if sum(given is not None for given in (self.score, self.verdict, self.preferred_over)) != 1:
            raise refuse("score", "exactly one of score, verdict and preferred_over is needed", "send score, a number from 0 to 1")
        if self.preferred_over is not None and self.decision_id is None:
            raise refuse("preferred_over", "a preference is between two decisions", "send decision_id instead of episode_id")
        if self.preferred_over is not None and self.preferred_over == self.decision_id:
            raise refuse("preferred_over", "a decision cannot be preferred over itself", "name the other decision")
        if self.judge.endswith("/preference"):
            raise refuse("judge", "this ending is kept for preferences", "leave /preference off: it is added")
        return self


class FeedbackCorrection(Body):
    """The score that holds from now on."""

    score: Share | None = None
    verdict: Verdict | None = None
    comment: Comment | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.score is None) == (self.verdict is None):
            raise refuse("score", "exactly one of score and verdict is needed", "send score, a number from 0 to 1; DELETE retracts")
        return self


class DecisionFilter(BaseModel):
    """Which decisions to list, newest first."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    before_seq: Annotated[int, Field(ge=1, le=2**62)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    task_type: Name | None = None
    model: ModelId | None = None
    episode_id: Id | None = None


class PriceIn(Body):
    """USD per million tokens. 0 is free; an unknown price is no price; a rate left out is not billed apart."""

    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cached_input_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = Field(default=None, description="Of input that the provider stores for later calls.")
    reasoning_usd_per_mtok: Usd | None = Field(default=None, description="Of output that the caller does not see.")
    usd_per_image: Usd | None = None
    usd_per_hardware_s: Usd | None = Field(default=None, description="Of the machine; no cost is forecast from tokens then.")
    effective_from: Moment | None = Field(
        default=None, description="A day or a time in UTC. Now if left out; an earlier day corrects what held since then."
    )
    source: Line = "operator"
    checked: Date | None = Field(default=None, description="Today if left out.")


class SpeedIn(Body):
    """Published speed: where the estimate of latency starts."""

    ttft_s: Seconds
    output_tokens_per_s: Annotated[float, Field(gt=0, le=1_000_000)]
    source: Line = "operator"
    checked: Date | None = Field(default=None, description="Today if left out.")


def _has_text(modalities: frozenset[Modality]) -> None:
    if Modality.TEXT not in modalities:
        raise refuse("modalities", "modalities lack text", "list text and what else the model reads")


class ModelIn(Body):
    """A model to add."""

    id: ModelId = Field(description="provider/name; never changes.")
    family: Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=64)] | None = Field(
        default=None, description="No model judges its own family's answers. The model's name if left out."
    )
    context_window: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = Field(description="Tokens of input and output together.")
    max_output_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    modalities: frozenset[Modality] = frozenset({Modality.TEXT})
    capabilities: frozenset[Capability] = frozenset()
    price: PriceIn | None = Field(default=None, description="Left out = unknown, which is not free.")
    speed: SpeedIn | None = None
    source: Line = "operator"
    checked: Date | None = Field(default=None, description="Today if left out.")
    tags: Annotated[frozenset[Name], Field(max_length=16)] = frozenset()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _has_text(self.modalities)
        if self.max_output_tokens is not None and self.max_output_tokens > self.context_window:
            raise refuse("max_output_tokens", "max_output_tokens exceeds context_window", "leave it out where only the window limits it")
        return self


class ModelChange(Body):
    """Facts that change; what is left out stays. null makes a price, a speed or an output limit unknown."""

    family: Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=64)] | None = None
    context_window: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    modalities: frozenset[Modality] | None = None
    capabilities: frozenset[Capability] | None = None
    price: PriceIn | None = None
    speed: SpeedIn | None = None
    source: Line | None = None
    checked: Date | None = None
    retired: bool | None = Field(default=None, description="false brings a retired model back.")
    tags: Annotated[frozenset[Name], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise refuse("price", "the change is empty", "send at least one fact to change")
        for name in self.model_fields_set - {"price", "speed", "max_output_tokens"}:
            if getattr(self, name) is None:
                raise refuse(name, f"{name} cannot be unknown", "leave it out to keep it as it is")
        if self.modalities is not None:
            _has_text(self.modalities)
        return self


Limit = Annotated[float, Field(gt=0, le=MOST)]


class BudgetChange(Body):
    """Limits that change; what is left out stays. null lifts what was set here, so that the settings hold again. Days are of UTC."""

    usd_per_request: Limit | None = Field(default=None, description="What a request may cost on average.")
    usd_per_day: Limit | None = Field(default=None, description="What all requests of a day may cost, of all services on the log.")
    exhausted: Literal["cheapest", "refuse"] | None = Field(
        default=None, description="Where the day's money is spent: the cheapest eligible model answers, or requests are refused with 429."
    )
    exploration_quality_per_day: Limit | None = Field(
        default=None, description="Expected points of quality that a day's decisions may give up to learn."
    )
    exploration_usd_per_day: Limit | None = Field(default=None, description="Expected USD that they may spend on top.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise refuse("usd_per_day", "the change is empty", "send at least one limit: a number sets it, null lifts it")
        return self


class _AlternativeIn(Body):
    model_config = ConfigDict(extra="ignore")

    model: ModelId


class RuleIn(Body):
    """A rule as `GET /v1/rules` tells it; only its models are looked at."""

    model_config = ConfigDict(extra="ignore")

    primary: ModelId
    alternatives: Annotated[list[_AlternativeIn], Field(max_length=99)] = Field(default_factory=list)


class PinIn(Body):
    """Whom to call for a task type: give `models`, or a `rule`."""

    models: Annotated[list[ModelId], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="In order: the first that is eligible is called."
    )
    rule: RuleIn | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.models is None) == (self.rule is None):
            raise refuse("models", "exactly one of models and rule is needed", "send models, a list of ids in the order to try them in")
        return self

    @property
    def named(self) -> dict[str, str]:
        """The models by their fields, in order."""
        if self.rule is None:
            return {f"models[{i}]": model for i, model in enumerate(self.models or ())}
        others = {f"rule.alternatives[{i}].model": one.model for i, one in enumerate(self.rule.alternatives)}
        return {"rule.primary": self.rule.primary} | others


class KeyIn(Body):
    """An API key to make."""

    name: Annotated[str, StringConstraints(pattern=f"^{KEY_NAME}$")] = Field(description="Whose key it is; no two usable keys share one.")
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = Field(description="What it may do. The first key needs `admin`.")
    expires: Annotated[str, StringConstraints(max_length=16)] | None = Field(
        default=None, description="Time until it expires, such as `90d` or `12h`; never if left out."
    )
    rate: Annotated[str, StringConstraints(max_length=16)] | None = Field(default=None, description="Most requests: `10/s`, `600/min`.")
    budget_usd: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        default=None, description="Most USD per hour, day, week or month: `50/day`."
    )

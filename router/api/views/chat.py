"""The chat completion."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from router.api.views.view import View


class AttemptTold(View):
    """One provider call, in an answer."""

    model: str
    status: str
    error: str | None
    latency_s: float | None
    forced: bool


class RouterTold(View):
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

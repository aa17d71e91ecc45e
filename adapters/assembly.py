"""Puts a streamed answer together."""

from dataclasses import replace
from time import perf_counter

from adapters.types import Completion, Delta, FinishReason, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage


class Assembly:
    """Collects the pieces of one answer; started when the request is sent."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._started = perf_counter()
        self._first: float | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, list[ToolCallDelta]] = {}
        """By the provider's number, in the order in which they began."""

    def add(self, delta: Delta) -> Delta:
        """Note a piece and hand it on."""
        if self._first is None:
            self._first = perf_counter()
        match delta:
            case TextDelta(text):
                self._text.append(text)
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case ToolCallDelta():
                self._calls.setdefault(delta.index, []).append(delta)
                position = list(self._calls).index(delta.index)
                return delta if position == delta.index else replace(delta, index=position)  # providers may count other blocks too
        return delta

    @property
    def calls_tools(self) -> bool:
        """A tool call has begun."""
        return bool(self._calls)

    def whole(
        self,
        finish_reason: FinishReason,
        usage: Usage | None,
        *,
        request_id: str | None = None,
        cost_usd: float | None = None,
        compute_s: float | None = None,
    ) -> Completion:
        """The answer, once its last piece is in."""
        return Completion(
            model=self._model,
            text="".join(self._text),
            usage=usage,
            finish_reason=finish_reason,
            latency_s=perf_counter() - self._started,
            ttft_s=None if self._first is None else self._first - self._started,
            request_id=request_id,
            cost_usd=cost_usd,
            tool_calls=tuple(_call(index, self._calls[index]) for index in self._calls),
            reasoning="".join(self._reasoning),
            compute_s=compute_s,
        )


def _call(index: int, deltas: list[ToolCallDelta]) -> ToolCall:
    return ToolCall(
        id=next((delta.id for delta in deltas if delta.id), f"call_{index}"),
        name=next((delta.name for delta in deltas if delta.name), ""),
        arguments="".join(delta.arguments for delta in deltas) or "{}",
        signature=next((delta.signature for delta in deltas if delta.signature), None),
    )

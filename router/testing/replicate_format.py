"""Replicate's predictions, from the provider's side: what is running, and how it looks to those who poll."""

from dataclasses import dataclass
from typing import Any

from adapters.types import Image, Message, Text
from router.testing.scenarios import Answer, Asked, Frame, Scenario

Json = dict[str, Any]
CREATED = "2026-11-24T12:00:00.000Z"


def read(body: Json, model: str) -> Asked:
    """What a request asks."""
    given = body.get("input", {})
    system = given.get("system_prompt")
    prompt: str | tuple[Text | Image, ...] = given.get("prompt", "")
    if "image" in given:
        prompt = (Text(given.get("prompt", "")), Image(given["image"]))
    return Asked(
        model=model or body.get("version", ""),
        messages=(*([Message("system", system)] if system else []), Message("user", prompt)),
        stream=bool(body.get("stream")),
        max_output_tokens=given.get("max_tokens"),
    )


@dataclass(slots=True)
class Prediction:
    """One prediction; it ends ``scenario.latency_s`` after it was created, on the server's clock."""

    id: str
    base_url: str
    answer: Answer
    scenario: Scenario
    asked: Asked
    given: Json
    created_at: float
    cancelled: bool = False

    def ends_in(self, now: float) -> float:
        """Seconds until it ends, zero once it has."""
        return 0.0 if self.cancelled else max(self.created_at + self.scenario.latency_s - now, 0.0)

    def shown(self, now: float) -> Json:
        """How it looks now."""
        status = self._status(now)
        urls = {name: f"{self.base_url}/v1/predictions/{self.id}{path}" for name, path in (("get", ""), ("cancel", "/cancel"))}
        if self.asked.stream:
            urls["stream"] = f"{self.base_url}/v1/streams/{self.id}"
        done = status == "succeeded"
        return {
            "id": self.id,
            "model": self.asked.model,
            "version": "hidden",
            "status": status,
            "input": self.given,
            "output": list(self.answer.chunks) if done else None,
            "error": self.scenario.prediction_error if status == "failed" else None,
            "logs": "",
            "metrics": self._metrics() if done else {},
            "created_at": CREATED,
            "urls": urls,
        }

    def _status(self, now: float) -> str:
        if self.cancelled:
            return "canceled"
        if self.ends_in(now) > 0:
            return "processing"
        return "failed" if self.scenario.prediction_error is not None else "succeeded"

    def _metrics(self) -> Json:
        counts = {"input_token_count": self.answer.input_tokens, "output_token_count": self.answer.output_tokens}
        return {"predict_time": self.scenario.latency_s, **counts}


def frames(answer: Answer) -> list[Frame]:
    """An answer as a stream."""
    made = [_event("output", number, chunk, content=True) for number, chunk in enumerate(answer.chunks)]
    return [*made, _event("done", len(made), "{}")]


def error(status: int, code: str | None, message: str) -> Json:
    """An error's body."""
    return {"title": code or "Error", "detail": message, "status": status}


def error_frame(message: str) -> Frame:
    """An error inside a stream."""
    return _event("error", 0, message)


def _event(name: str, number: int, text: str, *, content: bool = False) -> Frame:
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return Frame(f"event: {name}\nid: {number}\n{lines}\n".encode(), content)

"""Turns a route request into a task: names it, counts it, and lets its text go."""

from collections.abc import Sequence

from router.api.schemas import Message, Preset, RouteRequest
from router.domain import tasks
from router.domain.classify import classify, estimate_tokens
from router.domain.models import Modality
from router.domain.tasks import Task

PRESETS: dict[Preset, tasks.Weights] = {
    Preset.BEST: tasks.Weights(quality=1.0, cost=0.01, latency=0.01),  # not 0: ties go to the cheaper
    Preset.BALANCED: tasks.Weights(),
    Preset.CHEAP: tasks.Weights(quality=1.0, cost=3.0, latency=0.1),
    Preset.FAST: tasks.Weights(quality=1.0, cost=0.3, latency=1.0),
}
ASSUMED_TOKENS = 500
"""Of a task that is named but neither shown nor counted."""
TOKENS_PER_MESSAGE = 4
TOKENS_PER_MEDIUM = 800
"""About what providers count for a picture of one megapixel."""

MEDIA_CONFIDENCE = 0.8
"""That a task with a picture is about the picture."""

_MEDIA = {
    "image": Modality.IMAGE,
    "image_url": Modality.IMAGE,
    "input_image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "audio_url": Modality.AUDIO,
    "input_audio": Modality.AUDIO,
    "video": Modality.VIDEO,
    "video_url": Modality.VIDEO,
    "input_video": Modality.VIDEO,
}


def texts_of(request: RouteRequest) -> list[str]:
    """What a request says, in its order."""
    return [request.prompt] if request.prompt is not None else _read_messages(request.messages or ())[0]


def to_task(request: RouteRequest, default: tasks.Weights, *, further_tokens: int = 0) -> Task:
    """The task that a request describes, with input that its messages do not show; nothing of its text is kept."""
    texts, media = ([request.prompt], []) if request.prompt is not None else _read_messages(request.messages or ())
    limits = request.constraints
    task_type, confidence = (request.task_type, 1.0) if request.task_type is not None else _named(texts, media)
    return Task(
        task_type=task_type,
        context_tokens=_counted(request, texts, media) + further_tokens,
        expected_output_tokens=request.expected_output_tokens,
        max_output_tokens=request.max_output_tokens,
        needs=request.needs,
        modalities=request.modalities | {Modality.TEXT, *media},
        speed=request.speed,
        constraints=tasks.Constraints(
            limits.max_cost_usd, limits.max_latency_s, limits.min_quality, limits.models, limits.exclude, limits.providers
        ),
        weights=_weights(request, default),
        policy=request.policy,
        explore=request.explore,
        allow_fallback=request.allow_fallback,
        episode_id=request.episode_id,
        tags=tuple(sorted(request.tags.items())),
        type_confidence=confidence,
    )


def _read_messages(messages: Sequence[Message]) -> tuple[list[str], list[Modality]]:
    texts: list[str] = []
    media: list[Modality] = []
    for message in messages:
        if isinstance(message.content, str):
            texts.append(message.content)
        for part in message.content if isinstance(message.content, list) else ():
            if part.text is not None:
                texts.append(part.text)
            if part.type in _MEDIA:
                media.append(_MEDIA[part.type])
    return texts, media


def _named(texts: Sequence[str], media: Sequence[Modality]) -> tuple[str, float]:
    if Modality.IMAGE in media or Modality.VIDEO in media:
        return "multimodal", MEDIA_CONFIDENCE
    return classify("\n".join(texts))


def _counted(request: RouteRequest, texts: Sequence[str], media: Sequence[Modality]) -> int:
    if request.context_tokens is not None:
        return request.context_tokens
    if not texts and not media:
        return ASSUMED_TOKENS
    framing = TOKENS_PER_MESSAGE * len(request.messages or ())
    return sum(estimate_tokens(text) for text in texts) + framing + TOKENS_PER_MEDIUM * len(media)


def _weights(request: RouteRequest, default: tasks.Weights) -> tasks.Weights:
    asked = request.weights
    if asked is None:
        return default
    if isinstance(asked, Preset):
        return PRESETS[asked]
    return tasks.Weights(
        quality=default.quality if asked.quality is None else asked.quality,
        cost=default.cost if asked.cost is None else asked.cost,
        latency=default.latency if asked.latency is None else asked.latency,
    )

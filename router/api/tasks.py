"""Turns a route request into a task: names it, counts it, and lets its text go."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from router.api.schemas import Constraints, Part, Preset, RouteRequest, Weights
from router.domain import tasks
from router.domain.classify import classify, estimate_tokens
from router.domain.models import Capability, Modality
from router.domain.tasks import Speed, Task

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
    return [request.prompt] if request.prompt is not None else read_messages(request.messages or ())[0]


class Options(Protocol):
    """What to choose by, as every request says it."""

    @property
    def expected_output_tokens(self) -> int | None: ...
    @property
    def speed(self) -> Speed | None: ...
    @property
    def constraints(self) -> Constraints: ...
    @property
    def weights(self) -> Weights | Preset | None: ...
    @property
    def policy(self) -> str | None: ...
    @property
    def explore(self) -> bool: ...
    @property
    def episode_id(self) -> str | None: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


class Turn(Protocol):
    """One message of a conversation."""

    @property
    def content(self) -> str | Sequence[Part] | None: ...


def to_task(request: RouteRequest, default: tasks.Weights) -> Task:
    """The task that a request describes; nothing of its text is kept."""
    texts, media = ([request.prompt], []) if request.prompt is not None else read_messages(request.messages or ())
    return task_of(
        request,
        default,
        request.task_type,
        texts,
        media,
        context_tokens=_counted(request, texts, media),
        max_output_tokens=request.max_output_tokens,
        needs=request.needs,
        modalities=request.modalities,
        allow_fallback=request.allow_fallback,
    )


def task_of(
    options: Options,
    default: tasks.Weights,
    task_type: str | None,
    texts: Sequence[str],
    media: Sequence[Modality],
    *,
    context_tokens: int,
    max_output_tokens: int | None,
    needs: frozenset[Capability],
    modalities: frozenset[Modality] = frozenset(),
    allow_fallback: bool,
) -> Task:
    """A task with these texts and media, named after them where ``task_type`` is None."""
    limits = options.constraints
    named, confidence = (task_type, 1.0) if task_type is not None else _named(texts, media)
    return Task(
        task_type=named,
        context_tokens=context_tokens,
        expected_output_tokens=options.expected_output_tokens,
        max_output_tokens=max_output_tokens,
        needs=needs,
        modalities=modalities | {Modality.TEXT, *media},
        speed=options.speed,
        constraints=tasks.Constraints(
            limits.max_cost_usd, limits.max_latency_s, limits.min_quality, limits.models, limits.exclude, limits.providers
        ),
        weights=_weights(options, default),
        policy=options.policy,
        explore=options.explore,
        allow_fallback=allow_fallback,
        episode_id=options.episode_id,
        tags=tuple(sorted(options.tags.items())),
        type_confidence=confidence,
    )


def read_messages(messages: Sequence[Turn]) -> tuple[list[str], list[Modality]]:
    """The texts of a conversation, and what it holds besides."""
    texts: list[str] = []
    media: list[Modality] = []
    for message in messages:
        content = message.content
        if isinstance(content, str):
            texts.append(content)
        elif content is not None:
            for part in content:
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
    return tokens_of(texts, media, len(request.messages or ())) if request.context_tokens is None else request.context_tokens


def tokens_of(texts: Sequence[str], media: Sequence[Modality], messages: int) -> int:
    """About how many tokens a conversation of so many messages has."""
    if not texts and not media:
        return ASSUMED_TOKENS
    return sum(map(estimate_tokens, texts)) + TOKENS_PER_MESSAGE * messages + TOKENS_PER_MEDIUM * len(media)


def _weights(options: Options, default: tasks.Weights) -> tasks.Weights:
    asked = options.weights
    if asked is None:
        return default
    if isinstance(asked, Preset):
        return PRESETS[asked]
    return tasks.Weights(
        quality=default.quality if asked.quality is None else asked.quality,
        cost=default.cost if asked.cost is None else asked.cost,
        latency=default.latency if asked.latency is None else asked.latency,
    )

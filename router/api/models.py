"""``/v1/models``: the catalogue, changed while the service runs."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from router.api.access import ADMIN, CATALOGUE, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.schemas import ModelChange, ModelIn, PriceIn, SpeedIn
from router.api.services import services_of
from router.domain.models import Model, Price, SpeedFacts


async def list_models(
    request: Request, include_retired: Annotated[bool, Query()] = False, include_unavailable: Annotated[bool, Query()] = False
) -> Response:
    """The models that can be called, in OpenAI's shape with each one's facts beside it, and what the other providers lack.

    Where no provider can be called, the service only decides and lists its whole catalogue.
    """
    await allow(request, CATALOGUE)
    services = services_of(request)
    catalog, execution = services.models.catalog, services.execution
    shown = catalog.models if include_retired else catalog.active
    unavailable = {} if execution is None else execution.providers.unavailable(catalog)
    if execution is not None and execution.providers.names and not include_unavailable:
        shown = tuple(model for model in shown if model.id not in unavailable)
    lacking: dict[str, dict[str, Any]] = {}
    for model_id, remedy in unavailable.items():
        provider = model_id.partition("/")[0]
        lacking.setdefault(provider, {"provider": provider, "remedy": remedy, "models": 0})["models"] += 1
    return answer(
        {
            "object": "list",
            "data": [_told(model) for model in shown],
            "unavailable": list(lacking.values()),
            "catalog_version": catalog.version,
        }
    )


async def get_model(request: Request, model_id: str) -> Response:
    """One model, and every version of it that was made at run time."""
    await allow(request, CATALOGUE)
    models = services_of(request).models
    history = await models.history(model_id)
    versions = [{"at": entry.at, **_facts(entry.model)} for entry in history]
    return answer({**_told(models.catalog.get(model_id)), "versions": versions})


async def add_model(request: Request) -> Response:
    """Add a model. It works from the next decision on, from what is known of its family and of all models."""
    await allow(request, ADMIN)
    given = await read(request, ModelIn)
    provider, _, name = given.id.partition("/")
    model = Model(
        id=given.id,
        provider=provider,
        name=name,
        family=given.family or name.rpartition("/")[2][:64],
        context_window=given.context_window,
        max_output_tokens=given.max_output_tokens,
        modalities=given.modalities,
        capabilities=given.capabilities,
        price=_price(given.price),
        speed=_speed(given.speed),
        source=given.source,
        checked=given.checked or _today(),
        tags=given.tags,
    )
    return answer(_told(await services_of(request).models.add(model)), 201)


async def change_model(request: Request, model_id: str) -> Response:
    """Change facts of a model, such as its price. Decisions use them at once; what was learned stays."""
    await allow(request, ADMIN)
    given = await read(request, ModelChange)
    facts: dict[str, Any] = {name: getattr(given, name) for name in given.model_fields_set}
    if "price" in facts:
        facts["price"] = _price(given.price)
    if "speed" in facts:
        facts["speed"] = _speed(given.speed)
    return answer(_told(await services_of(request).models.change(model_id, facts)))


async def retire_model(request: Request, model_id: str) -> Response:
    """Take a model out of routing. It stays listed with what was learned; `PATCH` with `retired: false` brings it back."""
    await allow(request, ADMIN)
    return answer(_told(await services_of(request).models.retire(model_id)))


def _price(given: PriceIn | None) -> Price | None:
    if given is None:
        return None
    return Price(
        given.input_usd_per_mtok,
        given.output_usd_per_mtok,
        given.cached_input_usd_per_mtok,
        effective_from=given.effective_from or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        source=given.source,
        checked=given.checked or _today(),
        cache_write_usd_per_mtok=given.cache_write_usd_per_mtok,
        reasoning_usd_per_mtok=given.reasoning_usd_per_mtok,
        usd_per_image=given.usd_per_image,
        usd_per_hardware_s=given.usd_per_hardware_s,
    )


def _speed(given: SpeedIn | None) -> SpeedFacts | None:
    if given is None:
        return None
    return SpeedFacts(given.ttft_s, given.output_tokens_per_s, source=given.source, checked=given.checked or _today())


def _told(model: Model) -> dict[str, Any]:
    return {"object": "model", "created": _since(model.checked), "owned_by": model.provider, **_facts(model)}


def _facts(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "provider": model.provider,
        "name": model.name,
        "family": model.family,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "modalities": sorted(model.modalities),
        "capabilities": sorted(model.capabilities),
        "price": model.price,
        "speed": model.speed,
        "source": model.source,
        "checked": model.checked,
        "retired": model.retired,
        "version": model.version,
        "tags": sorted(model.tags),
    }


def _since(checked: str) -> int:
    """OpenAI's clients want a time: that of the day on which the facts were read, 0 where it is unknown."""
    try:
        return int(datetime.combine(date.fromisoformat(checked), datetime.min.time(), UTC).timestamp())
    except ValueError:
        return 0


def _today() -> str:
    return datetime.now(UTC).date().isoformat()

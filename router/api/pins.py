"""``/v1/pins``: whom to call for a task type instead of whom the learner would choose, changed while the service runs."""

from typing import Annotated, Any

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from router.api.access import ADMIN, WATCHED, allow
from router.api.hot import answer
from router.api.reading import read
from router.api.schemas import Name, PinIn
from router.api.services import services_of
from router.domain.pins import Pinned
from router.errors import StorageUnavailable
from router.services.pins import PinService

TaskType = Annotated[Name, Path()]


async def list_pins(request: Request) -> Response:
    """Every pin that holds: its models in their order, its hash, and whether a rules file says so or who pinned it and when."""
    await allow(request, WATCHED)
    return answer({"pins": [_told(one) for one in _pins(request).pinned.values()]})


async def pin(request: Request, task_type: TaskType) -> Response:
    """Pin a task type: the first eligible of these models is called, at once here, on other services within two seconds, and over restarts.

    Its decisions say policy `pinned` and name the hash; the learner goes on learning. It stands over a rules file until it is lifted.
    """
    caller = await allow(request, ADMIN)
    given = await read(request, PinIn)
    return answer(_told(await _pins(request).pin(task_type, given.named, caller)))


async def lift_pin(request: Request, task_type: TaskType) -> Response:
    """Lift what was pinned here: the rules file's pin holds again, or the learner chooses. Once more changes nothing."""
    caller = await allow(request, ADMIN)
    left = await _pins(request).lift(task_type, caller)
    return answer({"task_type": task_type, "pin": None if left is None else _told(left)})


def _told(one: Pinned) -> dict[str, Any]:
    return {
        "task_type": one.task_type,
        "models": one.models,
        "sha256": one.sha256,
        "source": one.source,
        "file": None if one.file is None else {"models": one.file.models, "sha256": one.file.digest},
        "at": one.at,
        "key_id": one.key_id,
    }


def _pins(request: Request) -> PinService:
    found = services_of(request).pins
    if found is None:
        raise StorageUnavailable("this service keeps no pins", remedy="ask one that decides")
    return found

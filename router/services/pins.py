"""Has pins hold, those of the rules file and those set over them at run time."""

from collections.abc import Callable, Mapping

from router.domain.catalog import Catalog
from router.domain.overrides import PIN, Override
from router.domain.pins import Pin, Pinned, pinned_now
from router.errors import PinNotFound, TaskInvalid
from router.services.overrides import OverrideService


class PinService:
    """``decide_by`` takes the pins that hold, by task type."""

    def __init__(
        self,
        files: Mapping[str, Pin],
        overrides: OverrideService,
        *,
        catalog: Callable[[], Catalog],
        decide_by: Callable[[Mapping[str, Pin]], None],
    ) -> None:
        self._files = files
        self._overrides = overrides
        self._catalog = catalog
        self._decide_by = decide_by
        overrides.use(PIN, self._use)

    @property
    def pinned(self) -> dict[str, Pinned]:
        """Every pin that holds, by task type."""
        return pinned_now(self._files, self._overrides.latest(PIN))

    async def pin(self, task_type: str, models: Mapping[str, str], key_id: str | None) -> Pinned:
        """Call the first eligible of these models for a task type, from the next decision on. They are given by their field in the request.

        Raises ``TaskInvalid`` naming the field, ``StorageUnavailable``.
        """
        catalog, named = self._catalog(), list(models.values())
        for field, model in models.items():
            if model not in catalog:
                raise TaskInvalid("no model has that id", field=field, remedy="GET /v1/models lists the ids")
            if catalog.get(model).retired:
                raise TaskInvalid("this model is retired", field=field, remedy="leave it out, or bring it back with PATCH /v1/models/{id}")
            if named.count(model) > 1:
                raise TaskInvalid("a model is named twice", field=field, remedy="name each model once, in the order to try them in")
        await self._overrides.change(PIN, {task_type: named}, key_id, lambda _: None)
        return self.pinned[task_type]

    async def lift(self, task_type: str, key_id: str | None) -> Pinned | None:
        """Lift what was pinned at run time, and return what holds then: the rules file's pin, or None. Once more changes nothing.

        Raises ``PinNotFound``, ``StorageUnavailable``.
        """

        def check(overrides: Mapping[str, Override]) -> None:
            if task_type not in overrides:
                from_file = "take it out of the rules file and restart the service, or PUT another pin over it"
                raise PinNotFound(
                    "nothing was pinned at run time for this task type",
                    field="task_type",
                    remedy=from_file if task_type in self._files else "GET /v1/pins lists what is pinned",
                )

        await self._overrides.change(PIN, {task_type: None}, key_id, check)
        return self.pinned.get(task_type)

    async def _use(self, overrides: Mapping[str, Override]) -> None:
        self._decide_by({name: Pin(one.models, one.sha256) for name, one in pinned_now(self._files, overrides).items()})

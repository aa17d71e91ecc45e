"""Pins, in answers."""

from typing import Literal

from pydantic import Field

from router.api.views.view import View


class FilePinView(View):
    """What the rules file pins a task type to."""

    models: list[str]
    sha256: str


class PinView(View):
    """A pin that holds, and where it comes from."""

    task_type: str
    models: list[str] = Field(description="In order: the first that is eligible is called.")
    sha256: str = Field(description="Of the rules file, or of the rule that was pinned here; decisions name its first 12 characters.")
    source: Literal["file", "run time"]
    file: FilePinView | None = Field(description="What the rules file says; it holds again once the pin is lifted.")
    at: float | None = Field(description="Unix time at which it was pinned at run time.")
    key_id: str | None = Field(description="The key that came with the order; null: none did.")


class PinList(View):
    """Every pin that holds, by task type."""

    pins: list[PinView]


class LiftedPin(View):
    """What holds once a pin is lifted."""

    task_type: str
    pin: PinView | None = Field(description="The rules file's; null: the learner chooses.")

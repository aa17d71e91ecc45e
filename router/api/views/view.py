"""What all answers have in common in the documentation."""

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(defer_build=True)  # a start does not wait for what only the documentation shows

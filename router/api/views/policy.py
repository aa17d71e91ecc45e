"""What is learned, in answers."""

from typing import Any

from pydantic import BaseModel


class PolicyView(BaseModel, extra="allow"):
    """What is learned, per task type and model."""

    seq: int
    digest: str
    policy: str
    policy_version: str
    task_types: list[dict[str, Any]]

"""What the learner refuses.

LearningError
├─ InvalidContext      the features or weights cannot be used
├─ UnknownModel        no such arm
└─ IncompatibleState   the snapshot was made under another schema, or is damaged
"""


class LearningError(Exception):
    """A refusal of the learner."""


class InvalidContext(LearningError):
    """Features, values or weights are not finite, not in range or of the wrong shape."""


class UnknownModel(LearningError):
    """A policy or a caller names a model that is not among the arms."""


class IncompatibleState(LearningError):
    """Stored state cannot be read by this release."""

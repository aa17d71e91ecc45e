"""What a decision made of the text of its task, as the log keeps it behind the features."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from learning.features import N_FEATURES
from learning.projection import SIZE

_TAIL = struct.Struct("<3fI")
_START = 4 * N_FEATURES
LOGGED = SIZE + _TAIL.size
"""Bytes that a decision with text logs behind its features."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """The text of one decision and what was foretold of the model that it chose, as logged."""

    text: bytes
    """Projected."""
    plain: float
    """Expected quality without the text."""
    shared: float
    own: float
    model: int
    """Check sum of the model's id: another one may have served."""

    def to_bytes(self) -> bytes:
        """What is logged behind the features."""
        return self.text + _TAIL.pack(self.plain, self.shared, self.own, self.model)


def foretold_of(features: bytes) -> Foretold | None:
    """Read what stands behind logged features; None where the decision was taken without text."""
    if len(features) == _START:
        return None
    text = features[_START : _START + SIZE]
    return Foretold(text, *_TAIL.unpack_from(features, _START + SIZE))


def text_of(features: bytes) -> bytes | None:
    """The projected text that stands behind logged features."""
    return features[_START : _START + SIZE] or None


@lru_cache(4_096)
def code_of(model: str) -> int:
    """The check sum of a model's id."""
    return crc32(model.encode())

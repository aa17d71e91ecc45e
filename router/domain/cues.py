"""The cues of the task types, and for each way of a pattern the words without which it cannot occur.

Looking for a word costs a hundredth of looking for a pattern, and most texts hold hardly any of the words. Nor are they looked for one
by one: each is filed under a piece of it that few others have, and looked for where the text has that piece. Pieces hold no blanks, so that
what a text says again and again is cut up once.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from router.domain.tasks import TASK_TYPES

try:
    from re import _parser  # type: ignore[attr-defined]  # the only way to a pattern's structure
except ImportError:
    _parser = None
"""Without it every pattern is looked for: slower, and the same in effect."""


_PIECE = 3
"""Characters."""


class Way(NamedTuple):
    """One of a pattern's alternatives."""

    words: tuple[str, ...] | None
    """One of them stands in every text that the pattern is found in; None: that is not known."""
    pattern: re.Pattern[str]


class Cue(NamedTuple):
    """What in a text speaks for a task type, by log-odds added once."""

    task_type: int
    """In ``TASK_TYPES``."""
    weight: float
    ways: tuple[Way, ...]


_Patterns = list[tuple[int, re.Pattern[str]]]
"""Each with the number of its cue."""


@dataclass(frozen=True, slots=True)
class _Index:
    """What of the cues may be in a text."""

    always: tuple[tuple[int, Way], ...]
    """Ways whose words have no piece or are not known, with the number of the cue."""
    words: dict[str, list[tuple[str, _Patterns]]]
    """By a piece that each word has: the words, each with the ways that it may be the beginning of."""


def log_odds(text: str) -> list[float]:
    """What the cues in a lower-case text add to each of ``TASK_TYPES``."""
    index = _index()
    found = {cue for cue, way in index.always if _holds(text, way)}
    for piece in index.words.keys() & _pieces(text):
        for word, ways in index.words[piece]:
            if word in text:
                for cue, pattern in ways:
                    if cue not in found and pattern.search(text) is not None:
                        found.add(cue)
    scores = [0.0] * len(TASK_TYPES)
    for cue in sorted(found):  # in one order, so that the sums do not depend on where the cues were found
        task_type, weight, _ = cues()[cue]
        scores[task_type] += weight
    return scores


def _holds(text: str, way: Way) -> bool:
    if way.words is not None:
        for word in way.words:
            if word in text:
                break
        else:
            return False
    return way.pattern.search(text) is not None


def _pieces(text: str) -> set[str]:
    return {run[i : i + _PIECE] for run in set(text.split()) for i in range(len(run) - _PIECE + 1)}


@cache
def _index() -> _Index:
    always: list[tuple[int, Way]] = []
    by_word: dict[str, _Patterns] = {}
    for cue, (_, _, ways) in enumerate(cues()):
        for way in ways:
            if way.words is None or not all(map(_pieces, way.words)):
                always.append((cue, way))
            else:
                for word in way.words:
                    by_word.setdefault(word, []).append((cue, way.pattern))
    common = Counter(piece for word in by_word for piece in _pieces(word))
    words: dict[str, list[tuple[str, _Patterns]]] = {}
    for word, found in by_word.items():
        rarest = min(_pieces(word), key=lambda piece: (common[piece], piece))
        words.setdefault(rarest, []).append((word, found))
    return _Index(tuple(always), words)


@cache
def cues() -> tuple[Cue, ...]:
    """Those that ship."""
    raw = tomllib.loads(files("router").joinpath("catalog_data", "task_cues.toml").read_text(encoding="utf-8"))
    return tuple(_cue(TASK_TYPES.index(each["task_type"]), float(each["weight"]), each["pattern"]) for each in raw["cues"])


def _cue(task_type: int, weight: float, pattern: str) -> Cue:
    return Cue(task_type, weight, tuple(Way(needed_words(way), re.compile(way, re.DOTALL)) for way in alternatives(pattern)))


def alternatives(pattern: str) -> tuple[str, ...]:
    """The pattern split at the bars that stand in no group and no set."""
    found, depth, in_set = [""], 0, False
    for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
        if in_set:
            in_set = piece != "]"
        elif piece == "[":
            in_set = True
        elif piece in "()":
            depth += 1 if piece == "(" else -1
        elif piece == "|" and depth == 0:
            found.append("")
            continue
        found[-1] += piece
    return tuple(found)


def needed_words(pattern: str) -> tuple[str, ...] | None:
    """Pieces of text one of which is part of whatever the pattern matches; None where none can be named."""
    found = None if _parser is None else _of_sequence(_parser.parse(pattern, re.DOTALL))
    return None if found is None else tuple(sorted(found))


def _of_sequence(items: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    """The best of what the items need: all of them must be there, so any one of them will do."""
    found: list[frozenset[str]] = []
    run = ""
    for operation, argument in items:
        name = str(operation)
        if name == "LITERAL":
            run += chr(argument)
            continue
        if run:
            found.append(frozenset({run}))
            run = ""
        inner = _of_item(name, argument)
        if inner is not None:
            found.append(inner)
    if run:
        found.append(frozenset({run}))
    return max(found, key=lambda words: (min(len(word) for word in words), -len(words)), default=None)


def _of_item(name: str, argument: Any) -> frozenset[str] | None:
    if name == "BRANCH":
        branches = [_of_sequence(branch) for branch in argument[1]]
        known = [words for words in branches if words is not None]
        return frozenset().union(*known) if len(known) == len(branches) else None
    if name == "SUBPATTERN":
        return _of_sequence(argument[3])
    if name in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] >= 1:
        return _of_sequence(argument[2])
    return None

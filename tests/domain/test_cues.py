"""Looking for words first finds exactly what the patterns find."""

import re
import tomllib
from importlib.resources import files
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.cues import alternatives, cues, log_odds, needed_words
from router.domain.tasks import TASK_TYPES
from tests.domain.test_classify import HELD_OUT, TUNING

PATTERNS = [
    re.compile(cue["pattern"], re.DOTALL)
    for cue in tomllib.loads(files("router").joinpath("catalog_data", "task_cues.toml").read_text(encoding="utf-8"))["cues"]
]
TEXTS = [text.lower() for _, text in (*TUNING, *HELD_OUT)]
NEEDED = {word for cue in cues() for way in cue.ways for word in way.words or ()}
PIECES = sorted(NEEDED | {word for text in TEXTS for word in re.findall(r"\w+|\W", text)})


def same(text: str) -> None:
    expected = [0.0] * len(TASK_TYPES)
    for cue, pattern in zip(cues(), PATTERNS, strict=True):
        if pattern.search(text):
            expected[cue.task_type] += cue.weight
    assert log_odds(text) == expected


def test_on_requests_of_our_own_and_on_pairs_of_them() -> None:
    for text in TEXTS:
        same(text)
    for one, other in product(TEXTS[::5], TEXTS[::7]):
        same(one[: len(one) // 2] + other[len(other) // 2 :])


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " "]))
def test_on_words_in_any_order(pieces: list[str], between: str) -> None:
    same(between.join(pieces))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"\bhow many\b.{0,9}\b(?:left|total)\b", ("how many",)),
        (r"\b(?:find|spot) a", ("find", "spot")),
        (r"x(?:ab)+y?", ("ab",)),
        (r"(?:abc|\d)", None),
        (r"(?:abc)?\w*", None),
        (r"[ab]\d", None),
    ],
)
def test_the_words_that_a_pattern_needs(pattern: str, words: tuple[str, ...] | None) -> None:
    assert needed_words(pattern) == words


def test_a_pattern_is_split_outside_groups_and_sets() -> None:
    assert alternatives(r"a|(b|c)|[|)]d|\|e") == ("a", "(b|c)", "[|)]d", r"\|e")
    for pattern in PATTERNS:
        assert "|".join(alternatives(pattern.pattern)) == pattern.pattern

"""What is kept of a text: a few numbers, the same for the same words."""

import numpy as np
import pytest

from learning.errors import IncompatibleState
from learning.projection import DIMENSIONS, SIZE, Projection, embedded, hashed, vector_of

PROOFS = ["Prove that the sum of two odd numbers is even.", "Prove that no prime above 2 is even."]
POEM = "Write a poem about autumn leaves falling on a quiet lake, in the manner of a lullaby."


def test_the_same_words_give_the_same_numbers_whatever_their_case_and_order() -> None:
    assert hashed("Sum of 17 and 4") == hashed("sum AND of 9, 311".replace(",", ""))
    assert hashed(PROOFS[0]) != hashed(PROOFS[1])


def test_a_vector_has_mean_square_one_and_that_of_an_empty_text_is_zero() -> None:
    for text in (*PROOFS, POEM):
        assert np.mean(vector_of(hashed(text)) ** 2) == pytest.approx(1.0, abs=0.2)  # clipped and rounded
    assert not vector_of(hashed("  \n")).any()
    assert all(len(hashed(text)) == SIZE and vector_of(hashed(text)).any() for text in ("x", "ü\ud800 \0"))


def test_texts_alike_lie_closer_than_others() -> None:
    a, b, c = (vector_of(hashed(text)) for text in (*PROOFS, POEM))
    assert a @ b > a @ c
    assert a @ b > b @ c


def test_only_both_ends_of_a_long_text_are_read() -> None:
    assert hashed("start " + "a " * 3_000 + "end") == hashed("start " + "a " * 1_500 + "b " * 100 + "a " * 1_500 + "end")


def test_embeddings_are_folded_so_that_what_is_alike_stays_alike() -> None:
    rng = np.random.default_rng(5)
    a, far = rng.standard_normal(384), rng.standard_normal(384)
    near = a + 0.3 * rng.standard_normal(384)
    one, two, three = (vector_of(embedded(v)) for v in (a, near, far))
    assert embedded(a)[0] == Projection.EMBEDDED
    assert one @ two > 0.7 * DIMENSIONS > one @ three


@pytest.mark.parametrize("raw", [b"", b"\1" + b"\0" * 31, b"\7" + b"\0" * 32])
def test_what_is_no_projected_text_is_refused(raw: bytes) -> None:
    with pytest.raises(IncompatibleState, match="format"):
        vector_of(raw)

"""What the learner reads of a task."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.errors import IncompatibleState, InvalidContext
from learning.features import N_FEATURES, NAMES, SCHEMA_VERSION, encode, from_bytes, to_bytes

PROPERTY = settings(deadline=None, derandomize=True, max_examples=60)
arguments = st.fixed_dictionaries(
    {
        "context_tokens": st.integers(0, 10**9 - 1),
        "expected_output_tokens": st.none() | st.integers(1, 10**9 - 1),
        "non_text_input": st.booleans(),
        "needs_tools": st.booleans(),
        "needs_json": st.booleans(),
        "type_confidence": st.floats(0.0, 1.0),
    }
)


@PROPERTY
@given(arguments)
def test_features_are_bounded_and_start_with_one(given_arguments) -> None:
    x = encode(**given_arguments)
    assert x.shape == (N_FEATURES,) == (len(NAMES),)
    assert x[0] == 1.0
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 3.0


@PROPERTY
@given(arguments)
def test_logged_features_are_read_back_bit_for_bit(given_arguments) -> None:
    x = encode(**given_arguments)
    np.testing.assert_array_equal(from_bytes(to_bytes(x), SCHEMA_VERSION), x, strict=True)


def test_a_typical_task_is_neutral() -> None:
    assert encode(1000).tolist() == [1.0] + [0.0] * (N_FEATURES - 1)


@pytest.mark.parametrize(
    ("context_tokens", "bucket"),
    [(1_999, None), (2_000, "medium"), (31_999, "medium"), (32_000, "long"), (127_999, "long"), (128_000, "very_long")],
)
def test_context_falls_into_its_tier(context_tokens: int, bucket: str | None) -> None:
    x = encode(context_tokens)
    tiers = {name: x[NAMES.index(f"context_{name}")] for name in ("medium", "long", "very_long")}
    assert tiers == {name: float(name == bucket) for name in tiers}


@pytest.mark.parametrize(
    "bad",
    [
        {"context_tokens": -1},
        {"context_tokens": 10**9},
        {"context_tokens": 1, "expected_output_tokens": 0},
        {"context_tokens": 1, "type_confidence": 1.1},
        {"context_tokens": 1, "type_confidence": float("nan")},
    ],
)
def test_what_is_out_of_range_is_refused_by_name(bad) -> None:
    with pytest.raises(InvalidContext, match=r"context_tokens|expected_output_tokens|type_confidence"):
        encode(**bad)


@pytest.mark.parametrize(("raw", "schema"), [(b"\0" * 4 * N_FEATURES, SCHEMA_VERSION + 1), (b"\0" * 4, SCHEMA_VERSION)])
def test_features_of_another_schema_are_refused(raw: bytes, schema: int) -> None:
    with pytest.raises(IncompatibleState, match="re-encode the log"):
        from_bytes(raw, schema)

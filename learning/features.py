"""From what is known before the call to the feature vector that the learner reads.

The task type is not among the features: it selects the cell of the hierarchy (see ``learning.hierarchy``), so that a new
type costs nothing until there is evidence about it.
"""

import math

import numpy as np

from learning.arrays import FloatArray
from learning.errors import IncompatibleState, InvalidContext

SCHEMA_VERSION = 1
"""Raised whenever a feature changes its meaning; evidence of two schemas is never mixed."""

NAMES: tuple[str, ...] = (
    "intercept",
    "log_context_tokens",
    "context_medium",
    "context_long",
    "context_very_long",
    "non_text_input",
    "needs_tools",
    "needs_json",
    "type_uncertainty",
    "log_expected_output",
)
N_FEATURES = len(NAMES)
EXPECTED_OUTPUT = NAMES.index("log_expected_output")
TYPICAL_CONTEXT_TOKENS = 1_000
TYPICAL_OUTPUT_TOKENS = 300
_CLIP = 3.0


def encode(
    context_tokens: int,
    *,
    expected_output_tokens: int | None = None,
    non_text_input: bool = False,
    needs_tools: bool = False,
    needs_json: bool = False,
    type_confidence: float = 1.0,
) -> FloatArray:
    """Encode one task.

    Parameters
    ----------
    context_tokens : int
        Input tokens, >= 0.
    expected_output_tokens : int, optional
        Output tokens that the caller expects, > 0; the typical length where unknown.
    type_confidence : float
        In [0, 1]; 1 where the caller named the task type.

    Returns
    -------
    FloatArray
        Shape ``(N_FEATURES,)``, each value exactly representable in float32, |value| <= 3, the first 1.

    Raises
    ------
    InvalidContext
        A number is negative, not finite or out of range.

    Examples
    --------
    >>> encode(1000)[:3].tolist()
    [1.0, 0.0, 0.0]
    """
    if not 0 <= context_tokens < 10**9:
        raise InvalidContext("context_tokens must lie in [0, 1e9); send the number of input tokens")
    if expected_output_tokens is not None and not 0 < expected_output_tokens < 10**9:
        raise InvalidContext("expected_output_tokens must lie in (0, 1e9); leave it out where unknown")
    if not 0.0 <= type_confidence <= 1.0:
        raise InvalidContext("type_confidence must lie in [0, 1]")
    size = math.log(max(context_tokens, 1) / TYPICAL_CONTEXT_TOKENS) / 2.0
    output = 0.0 if expected_output_tokens is None else math.log(expected_output_tokens / TYPICAL_OUTPUT_TOKENS)
    values = (
        1.0,
        max(-_CLIP, min(_CLIP, size)),
        float(2_000 <= context_tokens < 32_000),
        float(32_000 <= context_tokens < 128_000),
        float(context_tokens >= 128_000),
        float(non_text_input),
        float(needs_tools),
        float(needs_json),
        1.0 - type_confidence,
        max(-_CLIP, min(_CLIP, output)),
    )
    return np.array(values, dtype=np.float32).astype(np.float64)


def decoded_context_tokens(features: FloatArray) -> float:
    """Input tokens behind a feature vector; of a mean of vectors, their geometric mean.

    Examples
    --------
    >>> round(decoded_context_tokens(encode(5_000)))
    5000
    """
    return TYPICAL_CONTEXT_TOKENS * math.exp(2.0 * float(features[NAMES.index("log_context_tokens")]))


def to_bytes(features: FloatArray) -> bytes:
    """Little-endian float32, as logged; lossless for what ``encode`` returns."""
    return features.astype("<f4").tobytes()


def from_bytes(raw: bytes, schema: int) -> FloatArray:
    """Read logged features; what stands behind them is ``learning.foretold``'s.

    Raises
    ------
    IncompatibleState
        They were encoded under another schema.
    """
    if schema != SCHEMA_VERSION or len(raw) < 4 * N_FEATURES:
        raise IncompatibleState(
            f"features of schema {schema} ({len(raw)} bytes) cannot be read under schema {SCHEMA_VERSION}; re-encode the log"
        )
    return np.frombuffer(raw, dtype="<f4", count=N_FEATURES).astype(np.float64)

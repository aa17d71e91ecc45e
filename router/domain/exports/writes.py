"""What an imported call becomes in the log."""

from datetime import UTC, datetime
from hashlib import blake2b

from learning.features import SCHEMA_VERSION, TYPICAL_CONTEXT_TOKENS, encode, to_bytes
from router.domain.decisions import IMPORTED, Decision, imported_id
from router.domain.events import CostSource, Feedback, Outcome, Status, Write
from router.domain.evidence import QUALITY_METRIC
from router.domain.exports.calls import Call


def writes_of(
    gateway: str, call: Call, model: str, task_type: str, score: float | None, *, judge: str, at: float, catalog_version: str
) -> list[Write]:
    """A forced decision, its outcome, and its score where there is one.

    ``at`` is the time of the import: the log is in the order of time. When the call was made is a tag.
    """
    context = TYPICAL_CONTEXT_TOKENS if call.input_tokens is None else call.input_tokens
    identity = imported_id(gateway, call.id)
    made = () if call.made is None else (("made", datetime.fromtimestamp(call.made, UTC).isoformat(timespec="seconds")),)
    decision = Decision(
        id=identity,
        at=at,
        task_type=task_type,
        features_schema=SCHEMA_VERSION,
        features=to_bytes(encode(context)),
        request={"draw": 0, "context_tokens": context},
        eligible=(model,),
        propensities=(1.0,),
        model=model,
        propensity=1.0,
        confidence=0.0,
        reason=f"imported from {gateway}: decided there, with a probability that nobody knows",
        policy=IMPORTED,
        policy_version=gateway,
        policy_seq=0,
        catalog_version=catalog_version,
        forced=True,
        tags=((IMPORTED, gateway), *made),
    )
    outcome = Outcome(
        identity,
        call.status,
        at,
        latency_s=call.latency_s,
        ttft_s=call.ttft_s,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cost_usd=call.cost_usd,
        cost_source=None if call.cost_usd is None else CostSource.REPORTED,
    )
    if score is None or call.status is not Status.OK:
        return [decision, outcome]
    key = blake2b(f"{identity}\x00{judge}".encode(), digest_size=16).hexdigest()
    return [decision, outcome, Feedback(f"fb_{key}", identity, judge, QUALITY_METRIC, score, at)]

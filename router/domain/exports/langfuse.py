"""Langfuse's observations and scores.

Field names in snake case are those of the blob storage export (langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields:
``observations/``, ``observations_v2/``, ``scores/``); in camel case those of ``GET /api/public/observations`` and ``/scores`` and of the
export from the user interface (github.com/langfuse/langfuse, ``web/src/features/public-api/types``, ``worker/src/features``), where
scores are columns by their name, each with a list of values. Durations are worked out from the times: ``latency`` is in milliseconds in
some exports.
"""

from router.domain.events import Status
from router.domain.exports import fields
from router.domain.exports.calls import Asked, Call, LeftOut, Row, Scored, Told

NEEDED = ("id",)


def told(row: Row, asked: Asked) -> Told:
    """Read a row. Raises ``LeftOut``."""
    if "value" in row and ("dataType" in row or "data_type" in row):
        return _score(row, asked)
    identity = fields.needed(row, "id")
    if fields.text(row, "type") != "GENERATION":
        raise LeftOut("type is not GENERATION", "nothing to do: only generations call a model")
    model = fields.needed(row, "model", "provided_model_name", "providedModelName")
    usage = fields.mapping(fields.first(row, "usage_details", "usageDetails", "usage"))
    taken = fields.first(row, "inputUsage", "promptTokens", "inputTokens")
    given = fields.first(row, "outputUsage", "completionTokens", "outputTokens")
    start = fields.moment(fields.first(row, "start_time", "startTime"), "start_time")
    trace = fields.text(row, "trace_id", "traceId")
    return Call(
        id=identity,
        names=(model,),
        status=Status.ERROR if fields.text(row, "level") == "ERROR" else Status.OK,
        made=start,
        task_type=fields.task_type(row, asked, fields.mapping(row.get("metadata")), fields.listing(fields.first(row, "tags", "traceTags"))),
        input_tokens=fields.tokens(usage.get("input", taken), "input"),
        output_tokens=fields.tokens(usage.get("output", given), "output"),
        cost_usd=fields.positive(fields.number(fields.first(row, "total_cost", "totalCost", "calculatedTotalCost"), "total_cost")),
        latency_s=fields.between(start, fields.moment(fields.first(row, "end_time", "endTime"), "end_time")),
        ttft_s=fields.between(
            start, fields.moment(fields.first(row, "completion_start_time", "completionStartTime"), "completion_start_time")
        ),
        score=None if asked.score is None else _inline(row, asked.score),
        targets=(identity, trace) if trace else (identity,),
    )


def _score(row: Row, asked: Asked) -> Scored:
    if asked.score is None or fields.text(row, "name") != asked.score:
        raise LeftOut("a score of another name", "name the score that is quality with --score")
    if fields.text(row, "dataType", "data_type") not in ("NUMERIC", "BOOLEAN"):
        raise LeftOut("the score is no number and no boolean", "name another score with --score")
    target = fields.text(row, "observation_id", "observationId") or fields.text(row, "trace_id", "traceId")
    if not target:
        raise LeftOut("the score is of a session or a run", "score observations or traces")
    return Scored(target, row["value"], fields.text(row, "timestamp"))


def _inline(row: Row, name: str) -> object:
    value = fields.mapping(row.get("scores")).get(name, row.get(name))
    if isinstance(value, str) and value.startswith("["):
        value = fields.listing(value)
    return None if value in ("", []) else value

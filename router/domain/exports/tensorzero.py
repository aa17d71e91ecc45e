"""TensorZero's inferences and feedback.

Rows of the tables ``ModelInference``, ``ChatInference`` or ``JsonInference``, ``BooleanMetricFeedback`` and ``FloatMetricFeedback``
(tensorzero.com/docs/gateway/data-model), as ``SELECT * FROM … FORMAT JSONEachRow`` or CSV with names writes them, in one file or several.
``ModelInference.cost`` is in dollars (github.com/tensorzero/tensorzero, ``…/20260211170000_model_inference_cost.sql``). Ids are UUIDv7:
their first 48 bits are the time in milliseconds. A metric is of an inference or of an episode. Calls that failed are not in these tables.
"""

from uuid import UUID

from router.domain.events import Status
from router.domain.exports import fields
from router.domain.exports.calls import About, Asked, Call, LeftOut, Row, Scored, Told

NEEDED = ("id",)


def told(row: Row, asked: Asked) -> Told:
    """Read a row. Raises ``LeftOut``."""
    identity = fields.needed(row, "id")
    if "metric_name" in row and "value" in row:
        if row["metric_name"] != asked.score:
            raise LeftOut("a metric of another name", "name the metric that is quality with --score")
        return Scored(fields.needed(row, "target_id"), row["value"], identity)
    if "function_name" in row and "inference_id" not in row:
        episode = fields.text(row, "episode_id")
        return About(identity, fields.task_type(row, asked, fields.mapping(row.get("tags"))), (episode,) if episode else ())
    if "inference_id" not in row:
        raise LeftOut("neither an inference nor a metric", "export ModelInference, ChatInference or JsonInference, and the metrics")
    if fields.text(row, "cached").lower() in ("true", "1"):
        raise LeftOut("answered from TensorZero's cache", "nothing to do: no model was called")
    inference, model = fields.needed(row, "inference_id"), fields.needed(row, "model_name")
    name, provider = model.replace("::", "/"), fields.text(row, "model_provider_name")
    latency, first = (fields.number(row.get(field), field) for field in ("response_time_ms", "ttft_ms"))
    return Call(
        id=identity,
        names=tuple(dict.fromkeys((f"{provider}/{name}" if provider else name, name, model))),
        status=Status.OK,
        made=_made(identity),
        task_type=asked.task_type,
        input_tokens=fields.tokens(row.get("input_tokens"), "input_tokens"),
        output_tokens=fields.tokens(row.get("output_tokens"), "output_tokens"),
        cost_usd=fields.positive(fields.number(row.get("cost"), "cost")),
        latency_s=fields.positive(None if latency is None else latency / 1_000),
        ttft_s=fields.positive(None if first is None else first / 1_000),
        targets=(inference,),
        about=inference,
    )


def _made(identity: str) -> float | None:
    try:
        found = UUID(identity)
    except ValueError:
        return None
    return (found.int >> 80) / 1_000 if found.version == 7 else None

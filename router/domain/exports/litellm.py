"""LiteLLM's spend log.

Rows of the table ``LiteLLM_SpendLogs`` (github.com/BerriAI/litellm, ``litellm/proxy/schema.prisma``) as CSV, or the JSON of
``GET /spend/logs``. ``spend`` is 0 where LiteLLM knows no price. Tags are labels such as ``taskName:summaries``
(docs.litellm.ai/docs/proxy/cost_tracking). A failure is told by ``status`` and ``metadata.error_information`` with ``error_code`` and
``error_class`` (``litellm/types/utils.py``, ``StandardLoggingPayloadErrorInformation``). The log holds no scores of its own: one may be
in ``metadata`` or ``metadata.spend_logs_metadata``.
"""

from typing import Any

from router.domain.events import Status
from router.domain.exports import fields
from router.domain.exports.calls import Asked, Call, LeftOut, Row

NEEDED = ("request_id", "model")
_ANSWERS = frozenset(
    {
        "completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses",
        "anthropic_messages", "generate_content", "agenerate_content", "agenerate_content_stream",
    }
)  # fmt: skip
_REFUSED = frozenset({"400", "413", "422"})
_TIMEOUTS = frozenset({"408", "504"})


def told(row: Row, asked: Asked) -> Call:
    """Read a row. Raises ``LeftOut``."""
    identity = fields.needed(row, "request_id")
    kind = fields.text(row, "call_type")
    if kind and kind not in _ANSWERS:
        raise LeftOut("call_type is not that of a completion", "nothing to do: embeddings, images and the like are not routed")
    if fields.text(row, "cache_hit").lower() == "true":
        raise LeftOut("answered from LiteLLM's cache", "nothing to do: no model was called")
    metadata = fields.mapping(row.get("metadata"))
    own = metadata | fields.mapping(metadata.get("spend_logs_metadata"))
    model, provider = fields.text(row, "model", "model_group"), fields.text(row, "custom_llm_provider")
    if not model:
        raise LeftOut("model is empty", "nothing to do: LiteLLM refused the request before it chose a model")
    start = fields.moment(row.get("startTime"), "startTime")
    first = fields.moment(row.get("completionStartTime"), "completionStartTime")
    end = fields.moment(row.get("endTime"), "endTime")
    return Call(
        id=identity,
        names=(f"{provider}/{model}", model) if provider else (model,),
        status=_status(row, metadata),
        made=start,
        task_type=fields.task_type(row, asked, own, fields.listing(row.get("request_tags"))),
        input_tokens=fields.tokens(row.get("prompt_tokens"), "prompt_tokens"),
        output_tokens=fields.tokens(row.get("completion_tokens"), "completion_tokens"),
        cost_usd=fields.positive(fields.number(row.get("spend"), "spend")),
        latency_s=fields.between(start, end),
        ttft_s=None if first == end else fields.between(start, first),  # not streamed: LiteLLM writes the end there
        score=None if asked.score is None else own.get(asked.score),
    )


def _status(row: Row, metadata: dict[str, Any]) -> Status:
    if (fields.text(row, "status") or str(metadata.get("status") or "success")) == "success":
        return Status.OK
    error = fields.mapping(metadata.get("error_information"))
    code, kind = str(error.get("error_code") or ""), str(error.get("error_class") or "")
    if code in _REFUSED or "Budget" in kind:
        raise LeftOut("the request itself was refused", "nothing to do: that says nothing about the model")
    return Status.TIMEOUT if code in _TIMEOUTS or "Timeout" in kind else Status.ERROR

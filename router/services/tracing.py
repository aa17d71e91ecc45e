"""OpenTelemetry for executed calls: a span per provider call, with the standard GenAI attributes, and the standard client metrics.

Never a prompt or an answer. The libraries come with the extra ``otel``; their own ``OTEL_*`` variables say where to send what.
Names: OpenTelemetry's semantic conventions for generative AI.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from router.domain.events import Status
from router.errors import ConfigurationInvalid
from router.services.calls import Made
from router.telemetry import release

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor

SCOPE = "pointsman"
PROVIDERS: Mapping[str, str] = {"google": "gcp.gemini", "gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""Providers that the conventions call by another name than we do."""
_S = 1_000_000_000
_DURATION_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""The boundaries that the conventions ask for."""


class Tracing:
    """Tells an OpenTelemetry collector of every provider call, after the fact and off the request's path."""

    def __init__(self, spans: "SpanProcessor", metrics: "MetricReader") -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider

        named = Resource.create({SERVICE_NAME: SCOPE, SERVICE_VERSION: release()}).merge(OTELResourceDetector().detect())
        self._traces = TracerProvider(resource=named, shutdown_on_exit=False)
        self._traces.add_span_processor(spans)
        self._meters = MeterProvider([metrics], resource=named, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer(SCOPE, release())
        meter = self._meters.get_meter(SCOPE, release())
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "GenAI operation duration.", explicit_bucket_boundaries_advisory=_DURATION_S
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def told(self, made: Made) -> None:
        """Note a provider call."""
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        attempt, common = made.attempt, _common(made)
        begun = int(attempt.at * _S)
        span = self._tracer.start_span(
            f"chat {common['gen_ai.request.model']}",
            TraceContextTextMapPropagator().extract(made.trace),
            SpanKind.CLIENT,
            common | _details(made),
            start_time=begun,
        )
        if attempt.error is not None:
            span.set_status(StatusCode.ERROR, attempt.error)
        took = attempt.latency_s or 0.0
        span.end(begun + int(took * _S))
        self._duration.record(took, common)
        for kind, tokens in (("input", attempt.input_tokens), ("output", attempt.output_tokens)):
            if tokens is not None:
                self._tokens.record(tokens, common | {"gen_ai.token.type": kind})

    async def close(self) -> None:
        """Send what is left, and stop."""
        await asyncio.to_thread(self._traces.shutdown)
        await asyncio.to_thread(self._meters.shutdown)


def connect() -> Tracing:
    """To the collector that the ``OTEL_EXPORTER_OTLP_*`` variables name, by OTLP over HTTP; http://localhost:4318 where they name none.

    Raises ``ConfigurationInvalid`` without the libraries.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as exc:
        raise ConfigurationInvalid(
            "OpenTelemetry is not installed", field="otel", remedy='pip install "pointsman[otel]", or leave POINTSMAN_OTEL out'
        ) from exc
    return Tracing(BatchSpanProcessor(OTLPSpanExporter()), PeriodicExportingMetricReader(OTLPMetricExporter()))


def _common(made: Made) -> dict[str, Any]:
    provider, _, name = made.attempt.model.partition("/")
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS.get(provider, provider),
        "gen_ai.request.model": name,
        "error.type": made.attempt.error or (None if made.attempt.status is Status.OK else made.attempt.status.value),
    }
    return {key: value for key, value in told.items() if value is not None}


def _details(made: Made) -> dict[str, Any]:
    """What a span tells beyond the metrics' attributes; unknown things are left out."""
    decision, request, attempt, completion = made.decision, made.request, made.attempt, made.completion
    told = {
        "gen_ai.conversation.id": decision.episode_id,
        "gen_ai.request.max_tokens": request.max_output_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.seed": request.seed,
        "gen_ai.response.model": None if completion is None else completion.model.partition("/")[2],
        "gen_ai.response.id": attempt.request_id,
        "gen_ai.response.finish_reasons": None if completion is None else (str(completion.finish_reason),),
        "gen_ai.response.time_to_first_chunk": attempt.ttft_s,
        "gen_ai.usage.input_tokens": attempt.input_tokens,
        "gen_ai.usage.output_tokens": attempt.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": attempt.cached_input_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": attempt.reasoning_tokens or None,
        "http.response.status_code": attempt.http_status,
        "pointsman.decision.id": decision.id,
        "pointsman.decision.model": decision.model,
        "pointsman.decision.propensity": decision.propensity,
        "pointsman.task_type": decision.task_type,
        "pointsman.attempt.number": attempt.number,
        "pointsman.attempt.forced": attempt.forced,
        "pointsman.cost_usd": attempt.cost_usd,
    }
    return {key: value for key, value in told.items() if value is not None}

"""OpenTelemetry over the wire: the gateway's spans and metrics as a collector receives them, by the conventions' own names."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from router import config
from router.errors import ConfigurationInvalid
from router.services import tracing
from router.testing import Scenario, Stub
from tests.gateway.conftest import NAMES, Gateway

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra 'otel' is not installed")
MARK = "a sentence that must not leave"


class Collector:
    """Takes OTLP over HTTP on loopback."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.raw: list[bytes] = []
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        collector = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.raw.append(body)
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        collector.resources.append(values(resource.resource.attributes))
                        collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                else:
                    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                        collector.metrics += [metric for scope in resource.scope_metrics for metric in scope.metrics]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def values(attributes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        found[attribute.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.address)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "router-under-test")
    yield made
    made.close()


async def test_every_provider_call_is_told_to_the_collector(
    running_stub: Stub, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

    monkeypatch.chdir(tmp_path)
    running_stub.forget()
    for name in NAMES:
        running_stub.script(name, Scenario(text=MARK, input_tokens=11))
    gateway = Gateway(tmp_path, running_stub, otel=True).start()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    body = {"model": "auto", "messages": [{"role": "user", "content": MARK}], "temperature": 0.5, "max_tokens": 64}
    try:
        async with httpx.AsyncClient(base_url=gateway.address, timeout=60, headers={"traceparent": f"00-{trace}-{parent}-01"}) as client:
            first = (await client.post("/v1/chat/completions", json=body | {"router": {"episode_id": "run-1"}})).json()
            chosen = first["router"]["model"]
            running_stub.script(chosen.partition("/")[2], Scenario(status=500), Scenario(text=MARK, input_tokens=11))
            await client.post("/v1/chat/completions", json=body | {"model": chosen})
            async with client.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as answer:
                assert (await answer.aread()).endswith(b"[DONE]\n\n")
    finally:
        gateway.stop()
    assert collector.resources[0]["service.name"] == "router-under-test"
    spans = [(span, values(span.attributes)) for span in collector.spans]
    span, told = spans[0]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert span.name == f"chat {chosen.partition('/')[2]}"
    assert span.kind == 3  # client
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == chosen.partition("/")[0]
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == chosen.partition("/")[2]
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (11, 6)
    assert (told["gen_ai.request.temperature"], told["gen_ai.request.max_tokens"]) == (0.5, 64)
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["gen_ai.conversation.id"] == "run-1"
    assert told["pointsman.decision.id"] == first["router"]["decision_id"]
    failed = [(span, told) for span, told in spans if "error.type" in told]
    assert failed
    assert all(span.status.code == 2 for span, _ in failed)  # error
    assert any("gen_ai.response.time_to_first_chunk" in told for _, told in spans)  # of the stream
    standard = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    assert {key for _, told in spans for key in told if key.startswith("gen_ai.")} <= standard
    named = {metric.name: metric for metric in collector.metrics}
    assert set(named) <= {value for value in vars(gen_ai_metrics).values() if isinstance(value, str)}
    assert sum(point.count for point in named["gen_ai.client.operation.duration"].histogram.data_points) == len(spans)
    tokens = named["gen_ai.client.token.usage"].histogram.data_points
    assert {values(point.attributes)["gen_ai.token.type"] for point in tokens} == {"input", "output"}
    assert all(MARK.encode() not in raw for raw in collector.raw)


async def test_without_the_libraries_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationInvalid) as caught:
        tracing.connect()
    assert caught.value.field == "otel"
    assert "pointsman[otel]" in str(caught.value.remedy)


def test_it_is_off_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load().otel is False

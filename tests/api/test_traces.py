"""Traces reach a collector when one is named, with nothing of the claim in them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from api_kit import Published, open_server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from api.spans import Reduced

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """OTLP over HTTP, as far as traces go."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def spans_of(collector: Collector) -> list[tuple[Span, dict[str, str]]]:
    """Each with the attributes of what it comes from."""
    return [
        (span, {a.key: a.value.string_value for a in resource.resource.attributes})
        for request in collector.requests()
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_a_request_is_a_span_of_the_callers_trace(
    published: Published, collector: Collector, tmp_path: Path
) -> None:
    claim = published.claim()
    with open_server(
        published, tmp_path, process=True, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
    ) as server:
        told = server.score(claim, headers={"traceparent": PARENT})
        assert told.status_code == 200
        server.get("/healthz")
    spans = spans_of(collector)
    served = [(span, of) for span, of in spans if span.name == "POST /v1/score"]
    assert len(served) == 1, [span.name for span, _ in spans]
    span, resource = served[0]
    assert resource["service.name"] == "fraud-api"
    assert span.trace_id.hex() == PARENT.split("-")[1]
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert not any("healthz" in span.name for span, _ in spans)
    everything = b"".join(collector.bodies)
    for name in ("policyholder", "provider", "agent", "claim_id"):
        assert str(claim[name]).encode() not in everything


def test_what_a_client_puts_into_paths_queries_and_headers_stays_here(
    published: Published, collector: Collector, tmp_path: Path
) -> None:
    theirs = {"X-Forwarded-For": "203.0.113.77", "User-Agent": "Erika/9", "Host": "erika.example"}
    with open_server(
        published, tmp_path, process=True, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
    ) as server:
        score = server.score(published.claim(), headers=theirs, params={"policyholder": "Erika"})
        assert score.status_code == 422
        assert server.get("/v1/model?token=Erika").status_code == 200
        assert server.get("/claims/CLM-Erika").status_code == 404
        assert server.get("/static/Erika").status_code == 404
    found = {span.name: attributes(span) for span, _ in spans_of(collector)}
    assert found.keys() == {"POST /v1/score", "GET /v1/model", "GET", "GET /static"}
    assert {"http.method": "POST", "http.route": "/v1/score"}.items() <= (
        found["POST /v1/score"].items()
    )
    everything = b"".join(collector.bodies)
    for theirs_or_here in (b"Erika", b"erika", b"203.0.113.77", b"127.0.0.1"):
        assert theirs_or_here not in everything
    assert "?" not in str(found)  # ids are random bytes, and may hold one


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_a_batch_is_one_span_however_many_parts_it_has(
    published: Published, collector: Collector, tmp_path: Path
) -> None:
    body, lines = b"{}\n" * 30_000, {"Content-Type": "application/x-ndjson"}
    with open_server(
        published, tmp_path, process=True, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
    ) as server:
        assert server.post("/v1/score/batch", data=body, headers=lines).status_code == 200
    assert [span.name for span, _ in spans_of(collector)] == ["POST /v1/score/batch"]


def test_an_error_is_known_by_its_kind_and_not_by_its_words() -> None:
    """Which may repeat what it is about."""
    provider, kept = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(Reduced(kept)))
    tracer = provider.get_tracer("test")
    with suppress(ValueError), tracer.start_as_current_span("GET /") as begun:
        begun.add_event("Erika", {"of": "Erika"})
        raise ValueError("Erika")
    (span,) = kept.get_finished_spans()
    assert "Erika" not in span.to_json()
    assert span.status.status_code is StatusCode.ERROR
    assert [event.attributes for event in span.events] == [{"exception.type": "ValueError"}]


@pytest.mark.parametrize(
    "named", [{"OTEL_SERVICE_NAME": "desk"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=desk"}]
)
def test_a_name_and_an_address_of_traces_alone_are_what_opentelemetry_takes_them_for(
    published: Published, collector: Collector, tmp_path: Path, named: dict[str, str]
) -> None:
    given = named | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces"}
    with open_server(published, tmp_path, process=True, **given) as server:
        assert server.score(published.claim()).status_code == 200
    named_so = {of["service.name"] for span, of in spans_of(collector)}
    assert named_so == {"desk"}

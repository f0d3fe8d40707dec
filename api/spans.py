"""What of a span leaves this machine: how long which route took, and with what status.

Paths, queries, headers and addresses are a client's, and may name a person; so may the words of an
error. What is told is listed, so that no later instrumentation tells more.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

TOLD = {
    "http.route",
    *("http.method", "http.status_code", "http.scheme", "http.flavor"),
    *("http.request.method", "http.response.status_code", "url.scheme", "network.protocol.version"),
    "error.type",
}
"""By their old names and those of OTEL_SEMCONV_STABILITY_OPT_IN."""

ASKED_FOR = ("http.request.header.", "http.response.header.")
"""Headers, which are there only where OpenTelemetry's own variables name them."""


class Reduced(SpanExporter):
    """Sends on by another exporter what may be told."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_reduced(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _reduced(span: ReadableSpan) -> ReadableSpan:
    given = span.attributes or {}
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={k: v for k, v in given.items() if k in TOLD or k.startswith(ASKED_FOR)},
        events=[_kind(event) for event in span.events if event.name == "exception"],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _kind(error: Event) -> Event:
    name = "exception.type"
    return Event(error.name, {name: (error.attributes or {}).get(name, "")}, error.timestamp)

"""OpenTelemetry, when it is installed (`pip install 'fraud-mlops[otel]'`) and an exporter is named.

Everything else is set by OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_ENDPOINT first of all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from fastapi import FastAPI

log = logging.getLogger("fraud.api")


def instrument(app: FastAPI) -> Callable[[], object]:
    """Traces go where OTEL_EXPORTER_OTLP_ENDPOINT says; without it nothing is loaded.

    What is returned sends the last of them: uvicorn ends a process by the signal that it was sent,
    so that nothing which waits for the interpreter's end comes to its turn.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return _nothing
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no traces: pip install 'fraud-mlops[otel]', or unset the exporter's endpoint")
        return _nothing
    provider = TracerProvider(resource=Resource.create({"service.name": "fraud-api"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,readyz,metrics")
    return provider.shutdown


def _nothing() -> None:
    """There are no traces."""

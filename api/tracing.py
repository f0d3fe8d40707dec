"""OpenTelemetry, when it is installed (`pip install 'fraud-mlops[otel]'`) and an exporter is named.

All is set by OpenTelemetry's own variables; OTLP over HTTP is what is spoken.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from fastapi import FastAPI

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

log = logging.getLogger("fraud.api")


def instrument(app: FastAPI) -> Callable[[], object]:
    """Traces go where one of ENDPOINTS says; without any nothing is loaded.

    What is returned sends the last of them: uvicorn ends a process by the signal that it was sent,
    so that nothing which waits for the interpreter's end comes to its turn.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return _nothing
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from api.spans import Reduced
    except ImportError:
        log.warning("no traces: pip install 'fraud-mlops[otel]', or unset the exporter's endpoint")
        return _nothing
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before the name that is ours.
    named = {"service.name": "fraud-api", **OTELResourceDetector().detect().attributes}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(Reduced(OTLPSpanExporter())))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(
        app,
        excluded_urls="healthz,readyz,metrics",
        exclude_spans=["receive", "send"],  # a batch has hundreds of parts
    )
    return provider.shutdown


def _nothing() -> None:
    """There are no traces."""

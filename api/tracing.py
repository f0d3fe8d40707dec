"""OpenTelemetry, when it is installed (`pip install 'fraud-mlops[otel]'`) and an exporter is named.

Everything else is set by OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_ENDPOINT first of all.
"""

from __future__ import annotations

import logging
import os

from fastapi import FastAPI

log = logging.getLogger("fraud.api")


def instrument(app: FastAPI) -> None:
    """Traces go where OTEL_EXPORTER_OTLP_ENDPOINT says; without it nothing is loaded."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no traces: pip install 'fraud-mlops[otel]', or unset the exporter's endpoint")
        return
    provider = TracerProvider(resource=Resource.create({"service.name": "fraud-api"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,readyz,metrics")

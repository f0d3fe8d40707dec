"""What Prometheus reads, of all workers when they are started by `api.serve`."""

from __future__ import annotations

import math
import os
from collections import Counter as Counted
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
_PROBABILITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


class Metrics:
    """One registry an app, so that several in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._known: dict[tuple[object, ...], Any] = {}
        self._served: dict[str, str] = {}
        registry = self.registry
        self._requests = Counter(
            "fraud_http_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "fraud_http_seconds",
            "Seconds to an answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._claims = Counter(
            "fraud_claims_scored", "Claims scored.", ["model_version", "band"], registry=registry
        )
        self._probability = Histogram(
            "fraud_probability",
            "Calibrated probabilities of single claims.",
            ["model_version"],
            buckets=_PROBABILITIES,
            registry=registry,
        )
        self.warnings = Counter(
            "fraud_claim_warnings", "Warnings given.", ["code"], registry=registry
        )
        self.ready = Gauge(
            "fraud_ready",
            "1 when a champion is served.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self._model = Gauge(
            "fraud_model_info",
            "1 for the version served now, 0 for those before it.",
            ["role", "model_version"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.refused = Gauge(
            "fraud_model_refused",
            "1 while the version pointed at is refused.",
            ["role"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.swaps = Gauge(
            "fraud_model_swaps",
            "Models swapped in.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.state_until = Gauge(
            "fraud_entity_state_until_seconds",
            "Event time of the newest claim in the entity state, since 1970; +Inf without one.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        # 0 would be 1970, and old; NaN would hide what other workers have.
        self.state_until.set(math.inf)
        self.state_refused = Gauge(
            "fraud_entity_state_refused",
            "1 while the entity state cannot be taken up: scores are by an older one.",
            ["role"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.log_waiting = Gauge(
            "fraud_prediction_log_waiting",
            "Predictions on this machine only.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.logged = Counter(
            "fraud_predictions_logged", "Predictions in the lakehouse.", registry=registry
        )
        self.log_failures = Counter(
            "fraud_prediction_log_failures",
            "Flushes and syncs that failed; what they had is kept and tried again.",
            registry=registry,
        )
        self.shadow = Counter(
            "fraud_shadow_claims",
            "Claims offered to the challenger.",
            ["outcome"],
            registry=registry,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "other"
        self._of(self._requests, route, known, str(status)).inc()
        self._of(self._seconds, route).observe(seconds)

    def scored(self, version: str, band: str, probability: float) -> None:
        """One claim by itself."""
        self._of(self._claims, version, band).inc()
        self._of(self._probability, version).observe(probability)

    def scored_many(self, version: str, bands: Iterable[str]) -> None:
        """Claims of a batch, whose probabilities are in the prediction log only."""
        for band, claims in Counted(bands).items():
            self._claims.labels(version, band).inc(claims)

    def serves(self, role: str, version: str | None) -> None:
        """What is served in a role from now on. What was before is set to 0: a label cannot be
        taken out of the files that several workers share."""
        before = self._served.pop(role, None)
        if before not in (None, version):
            self._model.labels(role, before).set(0)
        if version is not None:
            self._model.labels(role, version).set(1)
            self._served[role] = version

    def _of(self, metric: Any, *labels: str) -> Any:
        """`metric.labels(*labels)`, looked up once: it takes a lock and some microseconds. There
        are as many as routes, methods, statuses and versions, and few of each."""
        key = (id(metric), *labels)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = metric.labels(*labels)
        return found

    def text(self) -> bytes:
        """In Prometheus's text format, of all workers."""
        registry = self.registry
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            _forget_the_dead(Path(folder))
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))


def _forget_the_dead(folder: Path) -> None:
    """Removes gauges of workers that are no more: nobody tells us when one dies. What they have
    counted stays, as with `multiprocess.mark_process_dead`, which two workers cannot call at once.
    """
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)


_METHODS = {"GET", "HEAD", "POST", "OPTIONS"}

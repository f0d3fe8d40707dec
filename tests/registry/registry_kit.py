"""Small bundles, real in everything but their weights."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraud_mlops.registry.bundle import MANIFEST, Bundle, Manifest, bundle_version, write_bundle

DATASET = "motor"
UNTIL = datetime(2024, 3, 1, tzinfo=UTC)


def files(weights: bytes = b"weights of a") -> dict[str, bytes]:
    return {"weights.safetensors": weights, "network.json": b"{}", "preprocessing.json": b"[]"}


def manifest(version: str, **changed: Any) -> Manifest:
    usual: dict[str, Any] = {
        "version": version,
        "dataset": DATASET,
        "labels_as_of": datetime(2025, 1, 1, tzinfo=UTC),
        "trained_until": UNTIL,
        "run": "FraudDetectionFlow/17",
        "data_versions": {"2024-01": "0a1b"},
        "contract": {"name": DATASET, "version": 1},
        "split": {"gap": "P30D"},
        "metrics": {"average_precision": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "calibration": {"kind": "platt"},
        "threshold": {"value": 0.2},
        "candidate": {"name": "line", "family": "logistic"},
        "gate": {"verdict": "first", "reason": "The first champion."},
        "libraries": {"torch": "2.13.0"},
    }
    return Manifest(**(usual | changed))


def publish(models: Path | str, name: str = "a", **changed: Any) -> str:
    """A whole bundle for each name; its version."""
    content = files(f"weights of {name}".encode())
    version = bundle_version(content, UNTIL)
    write(models, content, version, **changed)
    return version


def write(models: Path | str, content: dict[str, bytes], version: str, **changed: Any) -> Bundle:
    return write_bundle(str(models), DATASET, version, content, manifest(version, **changed))


def long_ago(models: Path | str, version: str, *, days: float) -> None:
    """As if the version, which lies in a folder, had been written then."""
    then = time.time() - days * 86_400
    os.utime(Path(models) / DATASET / version / MANIFEST, (then, then))

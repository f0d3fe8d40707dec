"""A mark for each secret that an environment may hold, and claims that claimants meant ill with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from pydantic import SecretStr

from fraud_mlops.settings import Settings
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic.generator import generate

OTHERS = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "DATABRICKS_TOKEN",
    "DAGSTER_WEBSERVER_TOKEN", "METAFLOW_SERVICE_AUTH_KEY", "GITHUB_TOKEN", "PGPASSWORD",
    "OTEL_EXPORTER_OTLP_HEADERS", "METAFLOW_SERVICE_HEADERS",
)  # fmt: skip
"""Secrets that are no settings of the project's own, and stand beside them."""

MARKUP = "<img src=x onerror=alert(1)>"
"""In a category's values and in a column's name: what a claimant, or a file's maker, may write."""

DATASET = "marked_claims"
CONTRACT: dict[str, Any] = {
    "name": DATASET,
    "claim_id": "claim_id",
    "event_time": {"column": "event_time"},
    "label": {"column": "label", "time_column": "label_time", "delay": "30d"},
    "amount": "amount",
    "entities": {"provider": "provider"},
    "numeric": ["driver_age", MARKUP],
    "categorical": ["peril", "region"],
    "windows": [30],
    "split": {
        "train": {"start": "2024-01-01", "end": "2024-06-01"},
        "validation": {"start": "2024-07-01", "end": "2024-08-01"},
        "oot": {"start": "2024-09-01", "end": "2024-11-01"},
    },
}


def secret_settings() -> list[str]:
    """Of the project's own settings those that are secret, by their type."""
    return [
        str(one.alias)
        for one in Settings.model_fields.values()
        if SecretStr in (one.annotation, *get_args(one.annotation))
    ]


def mark(name: str) -> str:
    return f"m4rk{hashlib.sha256(name.encode()).hexdigest()[:24]}"


MARKS = {name: mark(name) for name in (*secret_settings(), *OTHERS)}
HEADERS = {name: json.dumps({"x-api-key": MARKS[name]}) for name in ("METAFLOW_SERVICE_HEADERS",)}
"""Variables that Metaflow takes as a JSON document only, with their marks in it."""


def write_claims(path: Path) -> None:
    """A year of them, as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = SyntheticSource(
        kind="synthetic", claims=2400, seed=7, start="2024-01-01", end="2025-01-01", fraud_rate=0.1
    )
    table = pa.Table.from_batches([chunk.claims for chunk in generate(source)])
    first = pc.equal(table["region"], pc.min(table["region"]))
    at = table.column_names.index("region")
    table = table.set_column(at, "region", pc.if_else(first, MARKUP, table["region"]))
    pq.write_table(table.append_column(MARKUP, table["report_delay_hours"]), path)


def write_contract(path: Path, claims: Path) -> Path:
    path.write_text(yaml.safe_dump(CONTRACT | {"source": {"uri": str(claims)}}))
    return path

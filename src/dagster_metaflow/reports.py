"""The report ledger: how a Metaflow run, wherever it runs, tells what it has published.

A step that has published an asset writes one **asset report**,
`<root>/_reports/<flow>/<launch_id>/<asset>.json`. The messages inside have the shape of Dagster
Pipes (`report_asset_materialization`, `report_asset_check`), so that an orchestrator has nothing
new to learn; writing them needs neither Dagster nor a server.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict

PIPES_VERSION = "0.1"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

Value = str | int | float | bool | None | Sequence[Any] | Mapping[str, Any]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Materialization(_Model):
    """One partition of an asset, or the whole of an asset without partitions."""

    data_version: str
    partition: str | None = None
    metadata: dict[str, Any] = {}


class Check(_Model):
    name: str
    passed: bool
    severity: Literal["WARN", "ERROR"] = "ERROR"
    metadata: dict[str, Any] = {}


class AssetReport(_Model):
    """What one step published of one asset."""

    schema_version: int = 1
    flow: str
    launch_id: str
    asset_key: tuple[str, ...]
    run: str
    written: datetime
    messages: tuple[dict[str, Any], ...]


def write_report(
    root: str,
    flow: str,
    launch_id: str,
    asset_key: Sequence[str],
    materializations: Sequence[Materialization],
    checks: Sequence[Check] = (),
    *,
    run: str,
) -> str:
    """Writes the report, whole or not at all, and gives its URI. A retry replaces it.

    run: Metaflow pathspec. Addresses lose their query, where stores carry their signatures.
    Raises ValueError for a name that would not be one file under the ledger.
    """
    key = "/".join(asset_key)
    messages = [_message("report_asset_materialization", key, _said(m)) for m in materializations]
    messages += [_message("report_asset_check", key, _checked(check)) for check in checks]
    report = AssetReport(
        flow=flow,
        launch_id=launch_id,
        asset_key=tuple(asset_key),
        run=run,
        written=datetime.now(UTC),
        messages=tuple(messages),
    )
    uri = f"{_folder(root, flow, launch_id)}/{_name(asset_key[-1])}.json"
    _write(uri, json.dumps(report.model_dump(mode="json"), indent=1).encode() + b"\n")
    return uri


def read_reports(root: str, flow: str, launch_id: str) -> list[AssetReport]:
    """The reports of one launch so far, in order of writing."""
    import fsspec

    fs, folder = fsspec.url_to_fs(_folder(root, flow, launch_id))
    fs.invalidate_cache()
    reports = [AssetReport.model_validate_json(fs.cat(p)) for p in fs.glob(f"{folder}/[!.]*.json")]
    return sorted(reports, key=lambda report: report.written)


def _message(method: str, key: str, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "__dagster_pipes_version": PIPES_VERSION,
        "method": method,
        "params": {"asset_key": key, **params},
    }


def _said(made: Materialization) -> dict[str, Any]:
    """Pipes' message knows no partition: it goes with the metadata."""
    metadata = made.metadata | ({"partition": made.partition} if made.partition else {})
    return {"data_version": made.data_version, "metadata": _metadata(metadata)}


def _checked(check: Check) -> dict[str, Any]:
    return {
        "check_name": check.name,
        "passed": check.passed,
        "severity": check.severity,
        "metadata": _metadata(check.metadata),
    }


def _metadata(values: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
    return {name: _typed(value) for name, value in values.items()}


def _typed(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"raw_value": value, "type": "bool"}
    if isinstance(value, int):
        return {"raw_value": value, "type": "int"}
    if isinstance(value, float):
        return {"raw_value": value, "type": "float"}
    if value is None:
        return {"raw_value": None, "type": "null"}
    if isinstance(value, str):
        return {"raw_value": _without_query(value), "type": "text"}
    return {"raw_value": value, "type": "json"}


def _without_query(text: str) -> str:
    """A signed address would give its holder the store."""
    if "://" not in text or any(c.isspace() for c in text):
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(query="", fragment=""))


def _folder(root: str, flow: str, launch_id: str) -> str:
    return posixpath.join(root.rstrip("/"), "_reports", _name(flow), _name(launch_id))


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError(f"{text!r} is no name; use letters, digits, '.', '_' and '-'")
    return text


def _write(uri: str, data: bytes) -> None:
    if "://" in uri and not uri.startswith("file://"):
        import fsspec

        fs, path = fsspec.url_to_fs(uri)
        fs.pipe_file(path, data)
        return
    path = Path(uri.removeprefix("file://"))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with temporary.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

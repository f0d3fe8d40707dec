"""The report ledger: how a Metaflow run, wherever it runs, tells what it has published.

A step that has published an asset writes one **asset report**,
`<root>/_reports/<flow>/<launch_id>/<asset>.json`. The messages inside are those of Dagster Pipes
(protocol 0.1: `report_asset_materialization`, `report_asset_check`), so that an orchestrator has
nothing new to learn; writing them needs neither Dagster nor a server. Remote stores are opened by
fsspec with what their clients find in the environment.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from dagster_metaflow.stores import opened, without_secrets, write_file

PIPES_VERSION = "0.1"
PARTITION = "partition"
"""Metadata entry that names the partition of a materialization; Pipes has no field for it."""

TOLD = "=> "
"""Begins a line of a task's output that Dagster's event log is to have too."""

_PATIENCE = 4.0
"""Of a task that has a report to write: what it has made took longer than a store is away."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
REPORT = re.compile(r"[^.].*\.json")
"""Names of reports among the files of a launch."""
CHECK_NAME = re.compile(r"[A-Za-z0-9_]+")

# Of a report; other times are damage, and some that no database takes.
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)

Value = str | int | float | bool | None | Sequence[Any] | Mapping[str, Any]


class ReportError(ValueError):
    """A report that cannot be written or read. The message says which, and why."""


def tell(text: str) -> None:
    """Prints a line that whoever watches the run sees at once, in Dagster's event log too."""
    print(f"{TOLD}{text}", flush=True)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Materialization(_Model):
    """One partition of an asset, or the whole of an asset without partitions.

    metadata: uri, rows, bytes, schema, metrics, ... A mapping of exactly `raw_value` and `type`
    is taken as it stands, as in Pipes; everything else is given the type it has.
    """

    data_version: str
    partition: str | None = None
    metadata: dict[str, Any] = {}


class Check(_Model):
    name: str
    passed: bool
    severity: Literal["WARN", "ERROR"] = "ERROR"
    metadata: dict[str, Any] = {}


class AssetReport(_Model):
    """What one step published of one asset.

    run: Metaflow pathspec. written: when. messages: a materialization for each partition, then
    the checks, each `{"__dagster_pipes_version", "method", "params"}`.
    """

    schema_version: Literal[1] = 1
    flow: str
    launch_id: Annotated[str, AfterValidator(lambda text: _checked(text, _NAME, "launch id"))]
    asset_key: Annotated[tuple[str, ...], AfterValidator(lambda key: _checked_key(key))]
    run: str
    written: Annotated[AwareDatetime, Field(ge=_FIRST, lt=_LAST)]
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
    """Writes the report, whole or not at all, and gives its URI.

    run: Metaflow pathspec. A retry that has other things to say replaces the report; one that
    says the same leaves it as it is, time included. Addresses lose their query and login, where
    stores carry their signatures, in metadata at any depth.
    Raises ReportError for a name that would not be one file under the ledger, and for metadata
    that is not JSON; OSError when the store does not take it in time (two minutes).
    """
    key = _checked_key(asset_key)
    uri = f"{_folder(root, flow, launch_id)}/{'.'.join(key)}.json"
    report = AssetReport(
        flow=flow,
        launch_id=launch_id,
        asset_key=key,
        run=run,
        written=datetime.now(UTC),
        messages=tuple(
            [_materialized(key, made) for made in materializations]
            + [_evaluated(key, check) for check in checks]
        ),
    )
    data = json.dumps(report.model_dump(mode="json"), indent=1, allow_nan=False).encode() + b"\n"
    if not _says_the_same(uri, data):
        write_file(uri, data, patience=_PATIENCE)
    return uri


def read_reports(root: str, flow: str, launch_id: str) -> list[AssetReport]:
    """The reports of one launch so far, in order of writing; none when it has not begun.

    Raises ReportError that names a report that is damaged or of a later version.
    """
    try:
        with opened(_folder(root, flow, launch_id), anew=True) as (fs, folder):
            found = [str(path) for path in fs.ls(folder, detail=False)]
            paths = [path for path in found if REPORT.fullmatch(posixpath.basename(path))]
            data = {path: fs.cat_file(path) for path in paths}
    except FileNotFoundError:
        return []
    reports = [parse_report(path, content) for path, content in data.items()]
    return sorted(reports, key=lambda report: (report.written, report.asset_key))


def _materialized(key: Sequence[str], made: Materialization) -> dict[str, Any]:
    metadata = made.metadata
    if made.partition is not None:
        if PARTITION in metadata:
            raise ReportError(f"metadata {PARTITION!r} is reserved for the partition's name")
        metadata = {PARTITION: checked_text(made.partition, "partition"), **metadata}
    version = checked_text(made.data_version, "data version")
    params = {"data_version": version, "metadata": _typed_all(metadata)}
    return _message("report_asset_materialization", key, params)


def _evaluated(key: Sequence[str], check: Check) -> dict[str, Any]:
    params = {
        "check_name": _checked(check.name, CHECK_NAME, "check name", "'_'"),
        "passed": check.passed,
        "metadata": _typed_all(check.metadata),
        "severity": check.severity,
    }
    return _message("report_asset_check", key, params)


def _message(method: str, key: Sequence[str], params: dict[str, Any]) -> dict[str, Any]:
    return {
        "__dagster_pipes_version": PIPES_VERSION,
        "method": method,
        "params": {"asset_key": "/".join(key), **params},
    }


def _typed_all(metadata: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
    return {name: _typed(name, value) for name, value in metadata.items()}


def _typed(name: str, value: Value) -> dict[str, Any]:
    value = _plain(name, value)
    if isinstance(value, dict) and value.keys() == {"raw_value", "type"}:
        return value
    kinds = {bool: "bool", int: "int", float: "float", str: "text", type(None): "null"}
    return {"raw_value": value, "type": kinds.get(type(value), "json")}


def _plain(name: str, value: Any) -> Any:
    """As JSON has it and without secrets. What is not finite is null: JSON knows no other word."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(name, v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(name, v) for v in value]
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a scalar of NumPy's
        return _plain(name, value.item())
    raise ReportError(f"metadata {name!r} holds a {type(value).__name__}, which is not JSON")


def _folder(root: str, flow: str, launch_id: str) -> str:
    parts = (_checked(flow, _NAME, "flow"), _checked(launch_id, _NAME, "launch id"))
    return reports_folder(root, *parts)


def reports_folder(root: str, *parts: str) -> str:
    """Of all flows, of one, of one launch: parts are the flow and the launch id."""
    return posixpath.join(root.rstrip("/") or "/", "_reports", *parts)


def checked_text(value: object, what: str) -> str:
    """Raises ReportError for what nothing can be found by in a database."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ReportError(f"{what} {value!r}: use a text that is not empty and holds no NUL")
    return value


def _checked_key(key: Sequence[str]) -> tuple[str, ...]:
    if not key:
        raise ReportError("the asset key is empty; give at least one part")
    return tuple(_checked(p, _KEY_PART, "part of an asset key", "'_' and '-'") for p in key)


def _checked(
    text: str, pattern: re.Pattern[str], what: str, signs: str = "'.', '_' and '-'"
) -> str:
    if not pattern.fullmatch(text):
        raise ReportError(f"{what} {text!r}: use letters, digits, {signs} only")
    return text


def _says_the_same(uri: str, data: bytes) -> bool:
    try:
        with opened(uri, patience=_PATIENCE) as (fs, path):
            found = fs.cat_file(path)
        there = json.loads(found)
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(there, dict) and there | {"written": ""} == json.loads(data) | {"written": ""}


def parse_report(path: str, data: bytes) -> AssetReport:
    """path: for the message. Raises ReportError for what is damaged or of a later version."""
    try:
        return AssetReport.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise ReportError(f"{path}: is no asset report: {where}: {first['msg']}") from None

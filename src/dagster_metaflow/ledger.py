"""Dagster's side of the report ledger: what runs have published, and which runs Dagster launched.

    <root>/_reports/<flow>/<launch_id>/<asset>.json     written by the flow (`reports`)
    <root>/_reports/<flow>/<launch_id>/.launch.json     written here: who launched it, and how

The record stands beside the reports, so that a run is found again from any machine that sees the
store, with no memory of the process that started it. A launch id begins with the **identity** of
what is run (flow, parameters, partitions, assets): two launches of the same thing are found by it.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from dagster_metaflow.reports import AssetReport, read_reports, write_file
from dagster_metaflow.watcher import Watcher

RECORD = ".launch.json"
_IDENTITY_LENGTH = 12


class LaunchRecord(BaseModel):
    """One launch by Dagster, and the runs that it took.

    run_ids: of Metaflow, the first and then its resumptions. outcome: `open` until Dagster has seen
    the end and recorded it, which a Dagster process that was killed has not; `detached` when it
    was ended and told to leave the run going. handle: the backend's.
    chain: the first of the Dagster runs that re-execute each other. watcher: Dagster's process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    launch_id: str
    flow: str
    backend: str
    handle: dict[str, Any]
    dagster_run_id: str
    chain: str
    watcher: Watcher
    run_ids: tuple[str, ...] = ()
    outcome: Literal["open", "detached", "succeeded", "failed", "cancelled", "lost"] = "open"
    reason: str | None = None
    launched: AwareDatetime

    @property
    def run_id(self) -> str | None:
        return self.run_ids[-1] if self.run_ids else None

    def with_run_id(self, run_id: str | None) -> LaunchRecord:
        if run_id is None or run_id in self.run_ids:
            return self
        return self.model_copy(update={"run_ids": (*self.run_ids, run_id)})


def identity(flow: str, backend: str, parameters: Mapping[str, Any]) -> str:
    """The same for launches of the same thing. parameters: by option, with the protocol's."""
    text = json.dumps([flow, backend, dict(parameters)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_IDENTITY_LENGTH]


def launch_id(identity: str, chain: str) -> str:
    """Named for what is run, and for the chain of Dagster runs that wants it."""
    return f"{identity}-{hashlib.sha256(chain.encode()).hexdigest()[:8]}"


class Ledger:
    """The reports and records under one root, on any store that fsspec opens."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"

    def reports(self, flow: str, launch_id: str) -> list[AssetReport]:
        return read_reports(self.root, flow, launch_id)

    def folder(self, flow: str, *parts: str) -> str:
        return posixpath.join(self.root, "_reports", flow, *parts)

    def record(self, flow: str, launch_id: str) -> LaunchRecord | None:
        """None for a launch that is not Dagster's, or not there, or whose record is damaged."""
        import fsspec

        fs, path = fsspec.url_to_fs(self.folder(flow, launch_id, RECORD))
        fs.invalidate_cache()
        try:
            return LaunchRecord.model_validate_json(fs.cat_file(path))
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, record: LaunchRecord) -> None:
        """Whole or not at all."""
        uri = self.folder(record.flow, record.launch_id, RECORD)
        write_file(uri, record.model_dump_json(indent=1).encode() + b"\n")

    def of_identity(self, flow: str, identity: str) -> list[LaunchRecord]:
        """Launches of the same thing, the latest first."""
        names = [n for n in self._launches(flow) if n.startswith(f"{identity}-")]
        found = [record for name in names if (record := self.record(flow, name)) is not None]
        return sorted(found, key=lambda record: record.launched, reverse=True)

    def _launches(self, flow: str) -> Sequence[str]:
        import fsspec

        fs, path = fsspec.url_to_fs(self.folder(flow))
        fs.invalidate_cache()
        try:
            found = fs.ls(path, detail=False)
        except FileNotFoundError:
            return ()
        return [posixpath.basename(str(name).rstrip("/")) for name in found]


def now() -> datetime:
    return datetime.now(UTC)


class ReportFollower:
    """What is new in one launch's folder; a report that is replaced is new again.

    Only files that have changed are read, so that looking often costs one listing.
    """

    def __init__(self, ledger: Ledger, flow: str, launch_id: str) -> None:
        self._ledger = ledger
        self._flow = flow
        self._launch_id = launch_id
        self._listing: Any = None
        self._seen: dict[tuple[str, ...], datetime] = {}

    def new(self) -> list[AssetReport]:
        """In order of writing. Raises ReportError for a report that cannot be read."""
        listing = self._look()
        if listing == self._listing:
            return []
        found = self._ledger.reports(self._flow, self._launch_id)
        new = [r for r in found if self._seen.get(r.asset_key) != r.written]
        self._seen |= {r.asset_key: r.written for r in new}
        self._listing = listing
        return new

    def _look(self) -> Any:
        import fsspec

        fs, path = fsspec.url_to_fs(self._ledger.folder(self._flow, self._launch_id))
        fs.invalidate_cache()
        try:
            found = fs.ls(path, detail=True)
        except FileNotFoundError:
            return None
        # Stores name the moment of writing differently; size and tag or time tell a new file.
        keys = ("name", "size", "mtime", "LastModified", "last_modified", "ETag", "etag", "created")
        return sorted(
            tuple(str(entry.get(key)) for key in keys)
            for entry in found
            if not posixpath.basename(entry["name"]).startswith(".")
        )

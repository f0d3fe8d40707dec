"""Dagster's side of the report ledger: what runs have published, and which runs Dagster launched.

    <root>/_reports/<flow>/<launch_id>/<asset>.json     written by the flow (`reports`)
    <root>/_reports/<flow>/<launch_id>/.launch.json     written here: who launched it, and how
    <root>/_launches/<flow>/<identity>/<launch_id>      written here: it may have to be gone on with
    <root>/_launches/<flow>/<identity>/.<launch_id>.<turn>   written here: who goes on with it

The record stands beside the reports, so that a run is found again from any machine that sees the
store, with no memory of the process that started it. A launch id begins with the **identity** of
what is run (flow, parameters, partitions, assets): launches of the same thing that have not ended
well are found by it, in one listing, however many there have been.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from dagster_metaflow.reports import reports_folder
from dagster_metaflow.stores import opened, read_file, write_file, written_beside
from dagster_metaflow.watcher import Watcher

RECORD = ".launch.json"
_IDENTITY_LENGTH = 12


class LaunchRecord(BaseModel):
    """One launch by Dagster, and the runs that it took.

    run_ids: of Metaflow, the first and then its resumptions. outcome: `open` until Dagster has seen
    the end and recorded it, which a Dagster process that was killed has not; `detached` when it
    was ended and told to leave the run going. handle: the backend's. code_version, inputs_version:
    of the flow. input_versions: data versions of the assets that are read, as Dagster knew them
    when the first run began; None in records from before they were noted. instance: of Dagster, by
    the id of its storage of runs; None in records from before that was noted, and of a storage
    without one. chain: the first of the Dagster runs that re-execute each other. watcher: Dagster's
    process. turn: how often it has been gone on with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    launch_id: str
    flow: str
    code_version: str
    inputs_version: str = ""
    input_versions: dict[str, str] | None = None
    backend: str
    handle: dict[str, Any]
    dagster_run_id: str
    instance: str | None = None
    chain: str
    watcher: Watcher
    turn: int = 0
    run_ids: tuple[str, ...] = ()
    outcome: Literal["open", "detached", "succeeded", "failed", "cancelled", "lost"] = "open"
    launched: AwareDatetime

    @property
    def run_id(self) -> str | None:
        return self.run_ids[-1] if self.run_ids else None

    @property
    def identity(self) -> str:
        return self.launch_id.partition("-")[0]

    @property
    def is_unattended(self) -> bool:
        """Its end has not been seen."""
        return self.outcome in ("open", "detached")

    def with_run_id(self, run_id: str | None) -> LaunchRecord:
        if run_id is None or run_id in self.run_ids:
            return self
        return self.model_copy(update={"run_ids": (*self.run_ids, run_id)})


def identity(flow: str, backend: str, parameters: Mapping[str, Any], assets: Sequence[str]) -> str:
    """The same for launches of the same thing. parameters: by option, with the protocol's. assets:
    keys of those that it makes."""
    text = json.dumps([flow, backend, dict(parameters), [*assets]], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_IDENTITY_LENGTH]


def without_places(parameters: Mapping[str, Any], inputs: Sequence[Path]) -> dict[str, Any]:
    """With names of input files for their paths: the next release, or another machine's checkout,
    has them in another folder. What they hold is compared apart."""
    names = {str(path): path.name for path in inputs}
    return {option: names.get(str(value), value) for option, value in parameters.items()}


def launch_id(identity: str) -> str:
    """Named for what is run, and for when; never the same twice."""
    return f"{identity}-{now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Ledger:
    """The reports and records under one root, on any store that fsspec opens."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"

    def folder(self, flow: str, *parts: str) -> str:
        return reports_folder(self.root, flow, *parts)

    def record(self, flow: str, launch_id: str) -> LaunchRecord | None:
        """None for a launch that is not Dagster's, or not there, or whose record is damaged."""
        data = read_file(self.folder(flow, launch_id, RECORD))
        try:
            return None if data is None else LaunchRecord.model_validate_json(data)
        except ValidationError:
            return None

    def write(self, record: LaunchRecord) -> None:
        """Whole or not at all."""
        uri = self.folder(record.flow, record.launch_id, RECORD)
        write_file(uri, record.model_dump_json(indent=1).encode() + b"\n")

    def begin(self, record: LaunchRecord) -> None:
        """Before it is started: from now on the launch is found by what it runs."""
        self.write(record)
        write_file(self._mark(record), b"")

    def take(self, record: LaunchRecord) -> LaunchRecord | None:
        """Makes the record's turn its own. None when it is; else the record of who has it.

        Of two processes that try in the same instant, one succeeds: the store makes the object
        only where there is none (local disk, S3 and Azure do).
        """
        uri = self._turn(record)
        if _create(uri, record.model_dump_json().encode()):
            return None
        with opened(uri) as (fs, path):
            data = fs.cat_file(path)
        return LaunchRecord.model_validate_json(data)

    def settle(self, record: LaunchRecord) -> None:
        """It ended well: nothing is left to resume of it, nor of those that failed before it."""
        self.write(record)
        for other in self.of_identity(record.flow, record.identity):
            if not other.is_unattended:
                self._remove(self._mark(other))
                for turn in range(1, other.turn + 1):
                    self._remove(self._turn(other.model_copy(update={"turn": turn})))

    def of_identity(self, flow: str, identity: str) -> list[LaunchRecord]:
        """Launches of the same thing that have not ended well, the latest first."""
        names = _names(posixpath.join(self.root, "_launches", flow, identity))
        found = [record for name in names if (record := self.record(flow, name)) is not None]
        return sorted(found, key=lambda record: record.launched, reverse=True)

    def _mark(self, record: LaunchRecord) -> str:
        parts = ("_launches", record.flow, record.identity, record.launch_id)
        return posixpath.join(self.root, *parts)

    def _turn(self, record: LaunchRecord) -> str:
        mark = self._mark(record)
        return posixpath.join(posixpath.dirname(mark), f".{record.launch_id}.{record.turn}")

    def _remove(self, uri: str) -> None:
        with suppress(FileNotFoundError), opened(uri) as (fs, path):  # another process was first
            fs.rm_file(path)


def _names(uri: str) -> Sequence[str]:
    try:
        with opened(uri, anew=True) as (fs, path):
            found = fs.ls(path, detail=False)
    except FileNotFoundError:
        return ()
    names = [posixpath.basename(str(name).rstrip("/")) for name in found]
    return [name for name in names if not name.startswith(".")]


def _create(uri: str, data: bytes) -> bool:
    """Whole or not at all, and only where nothing is. False where something is."""
    try:
        with opened(uri) as (fs, path):
            if "file" in fs.protocol:
                with written_beside(Path(path), data) as temporary:
                    os.link(temporary, path)
            else:
                fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    return True


def now() -> datetime:
    return datetime.now(UTC)

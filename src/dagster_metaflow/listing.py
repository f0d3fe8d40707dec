"""Which reports a ledger holds, found by one listing and without reading any."""

from __future__ import annotations

import hashlib
import os
import posixpath
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagster_metaflow.ledger import RECORD
from dagster_metaflow.reports import REPORT, reports_folder
from dagster_metaflow.stores import opened

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_TAGS = ("ETag", "etag", "md5Hash")
_READERS = 16
_READ_SECONDS = 20.0
"""Of a tick, which Dagster gives 60 s: what is not begun with by then comes with the next one."""


@dataclass(frozen=True, order=True)
class ReportFile:
    """A report as a listing has it.

    time: when the store took it, in seconds, by the one clock that all writers share. id: 64 bits
    of place, size, time and tag; another one when the file is replaced.
    """

    time: float
    id: int
    path: str


def list_reports(
    root: str,
    flows: Collection[str] | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> list[ReportFile]:
    """Reports of launches that are not Dagster's, oldest first. flows: None for all.

    tell: takes a line for each folder that may not be read, and is left out until it can be.
    Raises OSError when the store cannot be listed; a ledger that is not there yet is empty.
    """
    only = next(iter(flows)) if flows is not None and len(flows) == 1 else ""
    launched_by_dagster, found = set(), []
    with opened(reports_folder(root), anew=True) as (fs, top):
        top = top.rstrip("/")
        files = dict(_files(fs, posixpath.join(top, only).rstrip("/"), 1 if only else 2, tell))
    for path, info in files.items():
        parts = path.removeprefix(f"{top}/").split("/")
        if len(parts) != 3 or (flows is not None and parts[0] not in flows):
            continue
        flow, launch, name = parts
        if name == RECORD:
            launched_by_dagster.add((flow, launch))
        elif REPORT.fullmatch(name):
            found.append(((flow, launch), _report_file(path, info)))
    return sorted(file for launch, file in found if launch not in launched_by_dagster)


def read_files(
    root: str, files: Sequence[ReportFile], *, seconds: float = _READ_SECONDS
) -> list[bytes | OSError | None]:
    """Contents, in the order given, or why there is none; None for those that were not begun with
    when the time was over."""
    until = time.monotonic() + seconds

    def read(file: ReportFile) -> bytes | OSError | None:
        if time.monotonic() > until:
            return None
        try:
            with opened(root) as (fs, _):
                return bytes(fs.cat_file(file.path))
        except OSError as error:
            return error

    with opened(root) as (fs, _):
        here = _is_local(fs)
    if here:
        return [read(file) for file in files]
    with ThreadPoolExecutor(_READERS) as pool:  # each waits for the network
        return list(pool.map(read, files))


def _files(
    fs: Any, folder: str, depth: int, tell: Callable[[str], None]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every file below a folder, as the store has it now. depth: levels of folders that count."""
    if _is_local(fs):  # fsspec asks three times for what one look tells
        yield from _local_files(folder, depth, tell)
        return
    try:
        yield from fs.find(folder, detail=True).items()
    except FileNotFoundError:
        return


def _local_files(
    folder: str, depth: int, tell: Callable[[str], None]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """No deeper than `depth`: a link to a folder above would be followed without end."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            if not entry.is_dir():
                facts = entry.stat()
                yield entry.path, {"size": facts.st_size, "mtime": facts.st_mtime}
            elif depth:
                yield from _local_files(entry.path, depth - 1, tell)
        except FileNotFoundError:  # a writer's temporary file, renamed meanwhile
            continue
        except OSError as error:
            tell(f"{entry.path} is left out, as it cannot be read: {error.strerror}")


def _is_local(fs: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


def _report_file(path: str, info: Mapping[str, Any]) -> ReportFile:
    taken = next((_seconds(info[key]) for key in _TIMES if info.get(key) is not None), 0.0)
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
    text = "\0".join([path, str(info.get("size")), repr(taken), tag])
    return ReportFile(
        taken, int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"), path
    )


def _seconds(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return float(value)

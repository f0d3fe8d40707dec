"""Every score that was given, as Parquet in the lakehouse; none lost when a process is killed.

A record is appended to a local write-ahead file before its answer leaves, in one write to the
operating system: a killed process loses none of those that were answered, and a machine without
power at most those of the last `sync_seconds`, whatever a flush is waiting for. Every
`flush_seconds`, or `flush_rows`, the file is closed and becomes
`<root>/prediction_log/<dataset>/day=<day>/<file>.parquet`. Its name is the write-ahead file's, so
that a flush that was killed half-way is repeated without a double. Files of processes that are gone
are taken over at the next start on that machine, by a process of the same lakehouse: each has a
folder of its own. Of a file with a damaged entry the others are taken; the file stays, as
`<file>.damaged`.

Personal fields are not logged: of a claim's features a hash, of its reasons the features' names.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.serving.records import SCHEMA, Record
from fraud_mlops.serving.syncing import Syncing
from fraud_mlops.serving.waiting_files import (
    SUFFIX,
    left_behind,
    ours_to_count,
    records_in,
    tell_of_others,
    waiting_folder,
)
from fraud_mlops.serving.write_ahead import as_frame, as_lines, read_entries

ZONE = "prediction_log"
DAMAGED = ".damaged"
CLOSE_SECONDS, LAST_TRY_SECONDS = 60.0, 15.0
"""For which a stop tries a store that fails again, and that the last try may take beyond that."""
_LEFT = "prediction log: %s; %d records stay in %s until an API with this lakehouse starts here"
log = logging.getLogger("fraud.serving")


class PredictionLog:
    """One process's log. `write` may be called from any thread; `close` flushes what there is."""

    def __init__(
        self,
        lakehouse: Lakehouse,
        dataset: str,
        folder: Path,
        *,
        flush_seconds: float = 60.0,
        flush_rows: int = 100_000,
        sync_seconds: float = 1.0,
        flushed: Callable[[int], object] = lambda _: None,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._lakehouse, self._dataset = lakehouse, dataset
        self._folder = waiting_folder(folder, lakehouse, dataset)
        self._flush_seconds, self._flush_rows = flush_seconds, flush_rows
        self._turn_seconds, self._flushed, self._failed = sync_seconds, flushed, failed
        self._syncing = Syncing(sync_seconds, failed)
        self._behind: dict[Path, int] = {}  # records of files that nobody writes, ours to count
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing, self._close_by = False, 0.0
        made = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        tell_of_others(folder / dataset, self._folder)
        self._open(*(path.parent for path in made))
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def write(self, records: list[Record]) -> None:
        """Appends records. Raises OSError when the disk does not take them."""
        self._append(as_lines(records), len(records))

    def write_batch(self, records: pa.RecordBatch) -> None:
        """Appends records of SCHEMA, all or none. Raises OSError likewise."""
        self._append(as_frame(records), records.num_rows)

    def _append(self, entries: bytes, rows: int) -> None:
        if not rows:  # nothing was scored: no entry either
            return
        with self._lock:
            _write_whole(self._file, entries)
            self._rows += rows
            full = self._rows >= self._flush_rows
        if full:
            self._wake.set()

    def close(self) -> None:
        """Ends with all records in the lakehouse; where that stays out of reach, on this disk."""
        self._close_by = time.monotonic() + CLOSE_SECONDS
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS + LAST_TRY_SECONDS)
        self._syncing.stop()

    @property
    def waiting(self) -> int:
        """Records that are on this machine only: of the open file, of those that are closed and
        have not been flushed, and of those that processes have left which are gone."""
        return self._rows + sum(rows for path, rows in self._behind.copy().items() if path.exists())

    def _open(self, *new_in: Path) -> None:
        """A new write-ahead file, locked for as long as this process lives."""
        while True:
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
            path = self._folder / f"{name}{SUFFIX}"
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists():
                break
            file.close()  # before it was locked another worker took it for one left behind
        self._path, self._file = path, file
        self._syncing.begin(file, {self._folder, *new_in})
        self._rows, self._opened = 0, time.monotonic()

    def _run(self) -> None:
        failures = 0
        while True:
            self._wake.wait(self._turn_seconds)
            self._wake.clear()
            closing = self._closing
            try:
                self._turn(closing)
                failures = 0
            except Exception as error:  # kept on disk; the store may come back
                failures += 1
                self._failed()
                left = self._close_by - time.monotonic()
                if not closing or left > 0:
                    log.warning("prediction log: %s; kept in %s, tried again", error, self._folder)
                    self._wake.wait(min(pause(failures), left) if closing else pause(failures))
                    continue
                log.error(_LEFT, error, self.waiting, self._folder)  # noqa: TRY400
            if closing:
                self._syncing.end(self._file)
                return

    def _turn(self, closing: bool) -> None:
        old = time.monotonic() - self._opened > self._flush_seconds
        if self._rows and (closing or old or self._rows >= self._flush_rows):
            with self._lock:
                done, path, rows = self._file, self._path, self._rows
                self._open()
                self._behind[path] = rows
            self._syncing.end(done)
            log.debug("prediction log: %s is closed", path.name)
        known = self._behind
        ours = ours_to_count(self._folder, self._path, known)
        self._behind = {p: known[p] if p in known else records_in(p) for p in ours}
        for path, held in left_behind(self._folder, but=self._path):
            with held:
                self._flushed(flush(self._lakehouse, self._dataset, path))
        if closing and not self._rows:
            self._path.unlink(missing_ok=True)


def pause(failures: int) -> float:
    """Seconds until the next try; a store may be away for a day, which is a thousand of them."""
    return min(60.0, 2.0 ** min(failures, 6))


def _write_whole(file: IO[bytes], entries: bytes) -> None:
    """All or nothing: half an entry would spoil the one after it. An unbuffered file may take less
    than it is given, on a disk that is full nothing more."""
    place, rest = file.tell(), memoryview(entries)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(place)
        file.seek(place)
        raise


def flush(lakehouse: Lakehouse, dataset: str, path: Path) -> int:
    """Writes one file's records into the lakehouse, by day, and removes it. Number of records.

    A last entry that was cut off belongs to a request that was not answered, and is left out. A
    file with damage is set aside instead of removed.
    """
    days: dict[str, list[pa.RecordBatch]] = {}
    damage: list[int] = []
    records = read_entries(path, damage.append)
    for day, part in by_partition(records, "scored_at", "day"):  # of UTC
        days.setdefault(day, []).append(part)
    for day, parts in days.items():
        uri = lakehouse.uri(ZONE, dataset, f"day={day}", f"{path.stem}.parquet")
        with ContentWriter(uri, SCHEMA, {"dataset": dataset}) as writer:
            for part in parts:
                writer.write(part)
    if damage:
        aside = path.with_name(path.name + DAMAGED)
        path.rename(aside)
        log.error("prediction log: %d damaged entries; kept as %s", len(damage), aside)
    else:
        path.unlink(missing_ok=True)
    return sum(part.num_rows for parts in days.values() for part in parts)


def once(predictions: pa.Table) -> pa.Table:
    """Each answer once, in order of when it was given: while a day's files are being compacted, or
    when that was killed half-way, a record stands in two of them.

    A record is the same when all its values are: claims that are scored together share their
    moment, and clients name several requests alike. Lists follow from the others.
    """
    first = ["scored_at", "role", "request_id"]
    flat = [f.name for f in predictions.schema if not pa.types.is_nested(f.type)]
    keys = [*first, *(name for name in flat if name not in first)]
    ordered = predictions.sort_by([(key, "ascending") for key in keys]).combine_chunks()
    if ordered.num_rows < 2:
        return ordered
    same = np.ones(ordered.num_rows - 1, dtype=bool)
    for key in keys:
        column = ordered.column(key)
        equal = pc.equal(column.slice(1), column.slice(0, len(column) - 1))
        nothing = pc.and_(pc.is_null(column.slice(1)), pc.is_null(column.slice(0, len(column) - 1)))
        same &= np.asarray(pc.or_kleene(pc.fill_null(equal, False), nothing))
    return ordered.filter(pa.array(np.append(True, ~same)))

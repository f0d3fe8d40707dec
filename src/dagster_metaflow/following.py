"""What a launch has published since one last looked."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from dagster_metaflow.backends.looks import Looks, Pace
from dagster_metaflow.events import Published
from dagster_metaflow.ledger import Ledger
from dagster_metaflow.reports import REPORT, ReportError, parse_report
from dagster_metaflow.stores import is_folder, opened

_Look = tuple[str, ...]
_MOST_SECONDS = 2.0
"""Longest delay before a report on a store that bills its calls is noticed."""

# Stores name the moment of writing differently; size and tag or time tell a new file.
_TELLS = ("size", "mtime", "LastModified", "last_modified", "ETag", "etag", "created", "ino")


class ReportFollower:
    """What is new in one launch's folder; a report that is replaced is new again.

    Only files that have changed are read, so that looking often costs one listing.
    unreadable: by file, why it could not be read. seconds: between two looks; on a store that is no
    folder of this machine, the least of them.
    """

    def __init__(self, ledger: Ledger, flow: str, launch_id: str, seconds: float = 0.0) -> None:
        self.unreadable: dict[str, str] = {}
        self._folder = ledger.folder(flow, launch_id)
        self._seen: dict[str, _Look] = {}
        most = 0.0 if is_folder(self._folder) else max(_MOST_SECONDS, seconds)
        self._pace = Pace(min(seconds, most), most, patience=0.0)
        self._looks = Looks()

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again: rarely while nothing comes."""
        return self._looks.is_due

    def new(self) -> list[Published]:
        """In order of writing. Raises OSError for a store that does not answer."""
        found: list[Published] = []
        try:
            found = self._new()
        finally:
            self._looks.done(self._pace, news=bool(found))
        return found

    def _new(self) -> list[Published]:
        try:
            with opened(self._folder, anew=True) as (fs, folder):
                looks = self._changed(fs.ls(folder, detail=True))
                read = {path: data for path in looks if (data := _read(fs, path)) is not None}
        except FileNotFoundError:
            return []
        # Seen when all were read: of a look that breaks off nothing was given to anybody.
        self._seen |= {path: looks[path] for path in read}
        found = [one for path, data in read.items() if (one := self._parsed(path, data))]
        return sorted(found, key=lambda one: (one.timestamp, one.asset_key))

    def _changed(self, entries: Iterable[Mapping[str, Any]]) -> dict[str, _Look]:
        """Reports that are new, or not as they were."""
        named = {str(entry["name"]): entry for entry in entries}
        looks = {
            path: tuple(str(entry.get(key)) for key in _TELLS)
            for path, entry in named.items()
            if REPORT.fullmatch(posixpath.basename(path))
        }
        return {path: look for path, look in looks.items() if self._seen.get(path) != look}

    def _parsed(self, path: str, data: bytes) -> Published | None:
        self.unreadable.pop(path, None)
        try:
            return Published.of(parse_report(path, data))
        except ReportError as error:
            self.unreadable[path] = str(error)
            return None


def _read(fs: Any, path: str) -> bytes | None:
    """None for a report that is gone again."""
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None

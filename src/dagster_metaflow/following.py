"""What a launch has published since one last looked."""

from __future__ import annotations

import posixpath
from typing import Any

from dagster_metaflow.events import Published
from dagster_metaflow.ledger import Ledger
from dagster_metaflow.reports import ReportError, parse_report

# Stores name the moment of writing differently; size and tag or time tell a new file.
_TELLS = ("size", "mtime", "LastModified", "last_modified", "ETag", "etag", "created", "ino")


class ReportFollower:
    """What is new in one launch's folder; a report that is replaced is new again.

    Only files that have changed are read, so that looking often costs one listing.
    unreadable: by file, why it could not be read.
    """

    def __init__(self, ledger: Ledger, flow: str, launch_id: str) -> None:
        self.unreadable: dict[str, str] = {}
        self._folder = ledger.folder(flow, launch_id)
        self._seen: dict[str, tuple[str, ...]] = {}

    def new(self) -> list[Published]:
        """In order of writing. Raises OSError for a store that does not answer."""
        import fsspec

        fs, folder = fsspec.url_to_fs(self._folder)
        fs.invalidate_cache()
        try:
            entries = fs.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        found = [one for entry in entries if (one := self._read(fs, entry)) is not None]
        return sorted(found, key=lambda one: (one.timestamp, one.asset_key))

    def _read(self, fs: Any, entry: dict[str, Any]) -> Published | None:
        path = str(entry["name"])
        name = posixpath.basename(path)
        look = tuple(str(entry.get(key)) for key in _TELLS)
        if name.startswith(".") or not name.endswith(".json") or self._seen.get(path) == look:
            return None
        try:
            published = Published.of(parse_report(path, fs.cat_file(path)))
        except FileNotFoundError:
            return None
        except ReportError as error:
            self.unreadable[path] = str(error)
            published = None
        else:
            self.unreadable.pop(path, None)
        self._seen[path] = look
        return published

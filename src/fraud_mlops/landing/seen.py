"""Which files have been looked at, which partitions they touched, and what is still to come.

38 bytes a file, however long its name is; a file that is gone is forgotten, so that the record
stays as large as the landing zone. It is kept on the lakehouse under the hash of its content, and
never changed: whoever remembers the name of one has it as it was.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import delete, list_children, read_bytes, write_bytes
from fraud_mlops.landing.listing import Landed

FOLDER = "_landing"
NONE = -(2**31)
EVER = NONE + 1
"""Due day of what an older version looked at, which did not note what is due."""
UNKNOWN = 0
"""A version or content that no file has, but for one in 2**64."""
_BEFORE = [("path", "<u8"), ("version", "<u8"), ("first", "<i4"), ("last", "<i4")]
"""What the oldest records have too."""
_RECORD = np.dtype([*_BEFORE, ("due", "<i4"), ("good", "?"), ("partly", "?"), ("content", "<u8")])


@dataclass(frozen=True)
class Looked:
    """A file that was looked at.

    first, last: days since 1970 of the claims that have gone on from it; NONE without any. Those of
    a file that has become bad are what it held when it was good: they are in the zone still.
    due: day from which on it has claims that were in the future, to be looked at again; NONE
    without any, EVER where nobody has asked. good: whether it is a table that ingest can read.
    partly: it has claims that belong to no partition, and might to one of another contract.
    content: `content_of` it.
    """

    file: Landed
    first: int = NONE
    last: int = NONE
    due: int = NONE
    good: bool = True
    partly: bool = False
    content: int = UNKNOWN


class SeenFiles:
    """Files by the hash of their path, in its order."""

    def __init__(self, records: npt.NDArray[Any] | None = None) -> None:
        self._records = np.empty(0, _RECORD) if records is None else _as_now(records)

    def __len__(self) -> int:
        return len(self._records)

    def fresh(self, files: Sequence[Landed]) -> list[Landed]:
        """Those that have not been seen, or are not the same any more."""
        at, known = self._find(_hashes(file.path for file in files))
        versions = _versions(files)
        same = known & (self._records["version"][at] == versions if len(self) else known)
        return [files[int(i)] for i in np.flatnonzero(~same)]

    def due(self, files: Sequence[Landed], day: int) -> dict[Landed, int]:
        """Those of which claims have come due by that day since they were looked at, with the day
        from which on they are."""
        waiting = self._records[(self._records["due"] != NONE) & (self._records["due"] <= day)]
        if not len(waiting):
            return {}
        ripe = SeenFiles(waiting)
        at, known = ripe._find(_hashes(file.path for file in files))
        same = known & (waiting["version"][at] == _versions(files))
        return {files[int(i)]: int(waiting["due"][at[i]]) for i in np.flatnonzero(same)}

    def unchanged(self, file: Landed, content: int) -> Looked | None:
        """What was found in it when it had the same content; None for another or unknown content,
        and for a file that was bad: it is set aside as the file that it was."""
        found = self._of(file)
        if content == UNKNOWN or found is None or found["content"] != content or not found["good"]:
            return None
        first, last, due = (int(found[name]) for name in ("first", "last", "due"))
        return Looked(file, first, last, due, partly=bool(found["partly"]), content=content)

    def days(self, file: Landed) -> tuple[int, int] | None:
        """First and last day of what has gone on from the file; None without any."""
        found = self._of(file)
        if found is None or found["first"] == NONE:
            return None
        return int(found["first"]), int(found["last"])

    def first_good(self, files: Iterable[Landed]) -> Landed | None:
        """The first of the files that was found to hold claims, when it was last looked at."""
        return next((file for file in files if self._is_good(self._of(file))), None)

    def judged_anew(self, *, bad: bool, partly: bool) -> SeenFiles:
        """As if some had not been looked at. bad: those that are bad, or no tables. partly: those
        that have claims of no partition."""
        records = self._records.copy()
        anew = (bad & ~records["good"]) | (partly & records["partly"])
        records["version"][anew] = records["content"][anew] = UNKNOWN
        return SeenFiles(records)

    def after(self, looked: Sequence[Looked], there: Sequence[Landed]) -> SeenFiles:
        """With these files, and without those that are not `there` any more."""
        new = np.empty(len(looked), _RECORD)
        new["path"] = _hashes(entry.file.path for entry in looked)
        new["version"] = _versions([entry.file for entry in looked])
        new["first"] = [entry.first for entry in looked]
        new["last"] = [entry.last for entry in looked]
        new["due"] = [entry.due for entry in looked]
        new["good"] = [entry.good for entry in looked]
        new["partly"] = [entry.partly for entry in looked]
        new["content"] = [entry.content for entry in looked]
        kept = self._records[~np.isin(self._records["path"], new["path"])]
        records = np.concatenate([kept, new])
        records = records[np.isin(records["path"], _hashes(file.path for file in there))]
        return SeenFiles(records[np.argsort(records["path"], kind="stable")])

    def _of(self, file: Landed) -> Any:
        at, known = self._find(_hashes([file.path]))
        return self._records[at[0]] if known[0] else None

    @staticmethod
    def _is_good(found: Any) -> bool:
        return found is not None and bool(found["good"]) and found["first"] != NONE

    def _find(self, paths: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], Any]:
        if not len(self):
            return np.zeros(len(paths), np.intp), np.zeros(len(paths), bool)
        at = np.searchsorted(self._records["path"], paths).clip(max=len(self) - 1)
        return at, self._records["path"][at] == paths

    @classmethod
    def read(cls, lakehouse: Lakehouse, dataset: str, name: str | None) -> Self:
        """The record of that name; nothing seen without one. LakehouseError when it is gone."""
        if name is None:
            return cls()
        uri = lakehouse.uri(FOLDER, dataset, f"seen-{name}.npy")
        try:
            return cls(np.load(io.BytesIO(read_bytes(uri)), allow_pickle=False))
        except (FileNotFoundError, ValueError):
            raise LakehouseError(
                f"{uri}: the record of files seen is gone or damaged. Reset the sensor's cursor: "
                "every file is then looked at again, which does no harm but takes its time."
            ) from None

    def write(self, lakehouse: Lakehouse, dataset: str, *, keep: str | None = None) -> str:
        """Its name. Others but `keep`, which somebody may go back to, are removed."""
        stream = io.BytesIO()
        np.save(stream, self._records, allow_pickle=False)
        data = stream.getvalue()
        name = hashlib.sha256(data).hexdigest()[:32]
        write_bytes(lakehouse.uri(FOLDER, dataset, f"seen-{name}.npy"), data)
        wanted = {f"seen-{kept}.npy" for kept in (name, keep)}
        for child in list_children(lakehouse.uri(FOLDER, dataset)):
            if child.startswith("seen-") and child not in wanted:
                delete(lakehouse.uri(FOLDER, dataset, child))
        return name


def _as_now(records: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Raises ValueError for what is no record, of today or of before."""
    if records.dtype == _RECORD:
        return records
    there = records.dtype.names or ()
    if not {name for name, _ in _BEFORE} <= set(there) <= set(_RECORD.names or ()):
        raise ValueError(f"{records.dtype} is no record of files seen")
    now = np.empty(len(records), _RECORD)
    now["due"], now["good"] = EVER, records["first"] != NONE
    now["partly"], now["content"] = False, UNKNOWN
    for name in there:
        now[name] = records[name]
    return now


def _hashes(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    digest = hashlib.blake2b
    data = b"".join(digest(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                    for text in texts)  # fmt: skip
    return np.frombuffer(data, "<u8")


def _versions(files: Sequence[Landed]) -> npt.NDArray[np.uint64]:
    return _hashes(f"{size} {changed} {tag}" for _, size, changed, tag in files)

"""What a sensor has looked at, in a few hundred bytes, however many files there are.

The latest files are remembered one by one, all older ones by a sum in each of 64 groups. New files
are newer than those and are found at once. A file that comes with an old time (copied with its
times kept, restored, written by a store whose clock was set back) makes the sum of its group
differ, and then the files of that group are looked at again. No clock is compared with another.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from dagster_metaflow.listing import ReportFile

GROUPS = 64
RECENT = 64


def _packed(ids: tuple[int, ...]) -> str:
    return base64.b85encode(struct.pack(f">{len(ids)}Q", *ids)).decode()


def _unpacked(text: object) -> object:
    if not isinstance(text, str):
        return text
    data = base64.b85decode(text)
    return struct.unpack(f">{len(data) // 8}Q", data)


Ids = Annotated[tuple[int, ...], BeforeValidator(_unpacked), PlainSerializer(_packed)]


class Seen(BaseModel):
    """Files that were looked at.

    recent: ids of the latest. since, first: time and id of the oldest of these; what is older is
    summed up in `older`, by group.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    since: float = float("-inf")
    first: int = 0
    recent: Ids = ()
    older: Ids = (0,) * GROUPS

    @classmethod
    def read(cls, cursor: str | None) -> Seen:
        """Nothing seen, for a cursor that is lost, damaged, or of another version."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except (ValidationError, struct.error):
            return cls()

    def write(self) -> str:
        return self.model_dump_json()

    def unseen(self, files: Sequence[ReportFile]) -> list[ReportFile]:
        """Those that are to be looked at, in the order given."""
        recent = frozenset(self.recent)
        changed = self._changed_groups(files)
        return [
            file
            for file in files
            if (file.id % GROUPS in changed if self._is_older(file) else file.id not in recent)
        ]

    def _changed_groups(self, files: Sequence[ReportFile]) -> frozenset[int]:
        sums = _sums([file for file in files if self._is_older(file)])
        return frozenset(g for g in range(GROUPS) if sums[g] != self.older[g])

    def _is_older(self, file: ReportFile) -> bool:
        return (file.time, file.id) < (self.since, self.first)

    @classmethod
    def of(cls, files: Sequence[ReportFile], left: Collection[ReportFile] = ()) -> Seen:
        """After a look at all files, but for those left for the next time."""
        waiting = {file.id for file in left}
        seen = sorted(file for file in files if file.id not in waiting)
        recent = seen[-RECENT:]
        if not recent:
            return cls()
        return cls(
            since=recent[0].time,
            first=recent[0].id,
            recent=tuple(file.id for file in recent),
            older=_sums(seen[:-RECENT]),
        )


def _sums(files: Sequence[ReportFile]) -> tuple[int, ...]:
    sums = [0] * GROUPS
    for file in files:
        sums[file.id % GROUPS] ^= file.id
    return tuple(sums)

"""Files that are set aside: they stay where they are, and no ingest reads them.

A record on the lakehouse names the file, the version of it that was bad, and why. A file that is
replaced is another version, and is read again without anybody doing anything.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import delete, list_children, read_bytes, write_bytes
from fraud_mlops.landing.listing import Landed, landed_file
from fraud_mlops.landing.seen import FOLDER


class SetAside(BaseModel):
    """uri: of the file. path: as its store names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str
    path: str
    size: int
    changed: float
    tag: str
    reason: str
    since: AwareDatetime

    @property
    def file(self) -> Landed:
        return Landed(self.path, self.size, self.changed, self.tag)


def set_aside(lakehouse: Lakehouse, dataset: str, uri: str, file: Landed, reason: str) -> str:
    """Writes the record, and gives its address."""
    record = SetAside(
        uri=uri, path=file.path, size=file.size, changed=file.changed, tag=file.tag,
        reason=reason, since=datetime.now(UTC),
    )  # fmt: skip
    place = _place(lakehouse, dataset, file.path)
    write_bytes(place, record.model_dump_json(indent=1).encode() + b"\n")
    return place


def take_back(lakehouse: Lakehouse, dataset: str, path: str) -> None:
    """The file is read again from now on; one that was not set aside is no error."""
    delete(_place(lakehouse, dataset, path))


def files_aside(lakehouse: Lakehouse, dataset: str) -> list[SetAside]:
    """Those whose bad version is still there, in order of their path."""
    folder = lakehouse.uri(FOLDER, dataset, "aside")
    found = []
    for name in list_children(folder):
        try:
            record = SetAside.model_validate_json(read_bytes(f"{folder}/{name}"))
        except (FileNotFoundError, ValidationError):  # taken back just now, or not ours
            continue
        if landed_file(record.uri) == record.file:
            found.append(record)
    return sorted(found, key=lambda record: record.path)


def _place(lakehouse: Lakehouse, dataset: str, path: str) -> str:
    name = hashlib.sha256(path.encode()).hexdigest()[:24]
    return lakehouse.uri(FOLDER, dataset, "aside", f"{name}.json")

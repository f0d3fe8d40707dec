"""Files that are set aside: they stay where they are, and no ingest reads them.

A record on the lakehouse names the file, the version of it that was bad, the contract that it
broke, and why. A file that is replaced is another version, and a contract that was mended may be
kept: either is read again without anybody doing anything. For all else: `fraud-mlops aside`.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.local_files import as_named, printable
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import delete, list_children, read_bytes, write_bytes
from fraud_mlops.landing.listing import Landed, landed_file
from fraud_mlops.landing.seen import FOLDER

_AGAIN = "again"
_OF_MODELS = {"description", "split", "windows", "alerts", "drift", "gate", "checks"}
"""What no file is bad by."""


class SetAside(BaseModel):
    """uri: of the file. path: as its store names it; both `printable`. contract: `judged_by`, of
    the one it broke."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str
    path: str
    size: int
    changed: float
    tag: str
    reason: str
    contract: str = ""
    since: AwareDatetime

    @property
    def file(self) -> Landed:
        return Landed(as_named(self.path), self.size, self.changed, self.tag)


def judged_by(contract: Contract) -> str:
    """Another one for every contract by which files may be read otherwise."""
    told = contract.model_dump_json(exclude=_OF_MODELS)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def set_aside(lakehouse: Lakehouse, contract: Contract, uri: str, file: Landed, reason: str) -> str:
    """Writes the record, and gives its address."""
    record = SetAside(
        uri=printable(uri), path=printable(file.path), size=file.size, changed=file.changed,
        tag=file.tag, reason=printable(reason), contract=judged_by(contract),
        since=datetime.now(UTC),
    )  # fmt: skip
    place = _place(lakehouse, contract.name, file.path)
    write_bytes(place, record.model_dump_json(indent=1).encode() + b"\n")
    return place


def take_back(lakehouse: Lakehouse, dataset: str, path: str) -> None:
    """The file is read again from now on; one that was not set aside is no error."""
    delete(_place(lakehouse, dataset, path))


def take_all_back(lakehouse: Lakehouse, dataset: str) -> None:
    """Every file is read again from now on, and looked at by whoever asks `asked_again`."""
    write_bytes(_again(lakehouse, dataset), secrets.token_hex(8).encode())
    folder = lakehouse.uri(FOLDER, dataset, "aside")
    for name in list_children(folder):
        delete(f"{folder}/{name}")


def asked_again(lakehouse: Lakehouse, dataset: str) -> str:
    """Another answer after every `take_all_back`."""
    try:
        return read_bytes(_again(lakehouse, dataset)).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def files_aside(lakehouse: Lakehouse, dataset: str) -> list[SetAside]:
    """Those whose bad version is still there, in order of their path."""
    folder = lakehouse.uri(FOLDER, dataset, "aside")
    found = []
    for name in list_children(folder):
        try:
            record = SetAside.model_validate_json(read_bytes(f"{folder}/{name}"))
        except (FileNotFoundError, ValidationError):  # taken back just now, or not ours
            continue
        if landed_file(as_named(record.uri)) == record.file:
            found.append(record)
    return sorted(found, key=lambda record: record.path)


def _again(lakehouse: Lakehouse, dataset: str) -> str:
    return lakehouse.uri(FOLDER, dataset, _AGAIN)


def _place(lakehouse: Lakehouse, dataset: str, path: str) -> str:
    name = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return lakehouse.uri(FOLDER, dataset, "aside", f"{name}.json")

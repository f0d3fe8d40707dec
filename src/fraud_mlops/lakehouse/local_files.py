"""Files of this machine: replaced whole, listed with one look at each."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fraud_mlops.errors import ReplacedError

ABSENT = "absent"
"""In place of a tag: of what is not there yet."""

_FOLDER_TRIES = 10
_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{32}\.tmp$")


class StoredFile(NamedTuple):
    """path: below the folder that was listed. changed: seconds since 1970, by the store's clock."""

    path: str
    bytes: int
    changed: float


def is_temporary(name: str) -> bool:
    """Of a file that a writer has not finished, or never will."""
    return bool(_TEMPORARY.match(name))


@contextlib.contextmanager
def local_writer(path: Path, replacing: str | None) -> Iterator[BinaryIO]:
    """As `atomic_writer` of `stores`."""
    temporary = _temporary(path)
    try:
        with _begun(temporary) as stream:
            remove_abandoned(path)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if replacing == ABSENT:
            _create(temporary, path)
        else:
            if replacing:
                _require(path, replacing, path.stat() if path.exists() else None)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _create(temporary: Path, path: Path) -> None:
    """A second name, which only one can give; where a disk has none of those, a look before."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:
        if path.exists():
            raise _taken(path) from None
        temporary.replace(path)
    else:
        temporary.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.tmp")


def _begun(temporary: Path) -> BinaryIO:
    """Opened, in a folder that somebody may be removing because it is empty."""
    for _ in range(_FOLDER_TRIES):
        # The first as mkdir, too, says of a folder that goes while it looks.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            return _opened(temporary)
    return _opened(temporary)


def _opened(temporary: Path) -> BinaryIO:
    temporary.parent.mkdir(parents=True, exist_ok=True)
    return temporary.open("xb")


def remove_version(path: Path, tag: str) -> None:
    """Removes the file of that tag. Raises FileNotFoundError; or ReplacedError, and removes
    nothing, where it is another."""
    _require(path, tag, path.stat())
    aside = _temporary(path)
    path.rename(aside)  # at once, so that what is looked at is what is removed
    try:
        _require(path, tag, aside.stat())
    except ReplacedError:  # in that instant
        if not path.exists():
            aside.rename(path)
        raise
    aside.unlink()


def _require(path: Path, tag: str, found: os.stat_result | None) -> None:
    if found is None or local_tag(found) != tag:
        raise _taken(path)


def _taken(path: Path) -> ReplacedError:
    return ReplacedError(f"{path}: was replaced by another run meanwhile; try again")


def local_tag(facts: os.stat_result) -> str:
    """Of a version of a file: another one when it is replaced."""
    return f"{facts.st_ino}-{facts.st_mtime_ns}-{facts.st_size}"


def sync_folder(folder: Path) -> None:
    """What is new in it, or has a new name, is on disk only when the folder is."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_abandoned(path: Path) -> None:
    """What writers of this object left that were killed."""
    for sibling in path.parent.glob(f".{path.name}.*.tmp"):
        match = _TEMPORARY.match(sibling.name)
        if match and not _is_running(int(match["pid"])):
            sibling.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def local_files(folder: str, below: str) -> Iterator[StoredFile]:
    """Every file below a folder, without those that are not finished."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from local_files(entry.path, f"{below}{entry.name}/")
            elif not is_temporary(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    facts = entry.stat()
                    yield StoredFile(below + entry.name, facts.st_size, facts.st_mtime)


def printable(name: str) -> str:
    r"""A file's name as it can be printed and stored: what is no UTF-8 in it as `\udcXX`.

    Python keeps such a byte as half a character, which no message, JSON or Arrow takes.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def as_named(text: str) -> str:
    """The name that `printable` was given."""
    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda found: chr(int(found[1], 16)), text)

"""A run's log in its folder here: reading it by lines, and copying one that is written elsewhere.

How far a copy has come stands beside it, so that another process goes on where one was killed, and
writes nothing twice.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dagster_metaflow.backends.protocol import Backend, Handle, OutOfSightError

_BLOCK = 1 << 20


class Noted(BaseModel):
    """How far a copy has come. size: of the log here, in bytes."""

    size: int = 0


_N = TypeVar("_N", bound=Noted)


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """A disk of this machine that is full, or may not be written, is no fault of the run's."""
    try:
        yield
    except OSError as error:
        raise OutOfSightError(
            f"the run's log cannot be kept in {folder}: {error}. Make room, give the right to "
            "write there, or give the resource another `state_folder`. The run goes on."
        ) from None


def noted_in(folder: Path, kind: type[_N]) -> _N:
    """From the start where nothing is noted yet."""
    with _kept_in(folder), suppress(FileNotFoundError, ValidationError):
        return kind.model_validate_json((folder / "following.json").read_bytes())
    return kind()


def append(folder: Path, noted: Noted, data: bytes) -> None:
    """Writes on where `noted` says, and notes the new size with whatever else it says. Raises
    OutOfSightError where the disk does not take it."""
    with _kept_in(folder):
        with (folder / "log").open("ab") as log:
            log.truncate(noted.size)  # what a process that was killed had not noted yet
            log.seek(noted.size)
            log.write(data)
            noted.size = log.tell()
        temporary = folder / "following.tmp"
        temporary.write_text(noted.model_dump_json(), encoding="utf-8")
        temporary.replace(folder / "following.json")


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Two processes may look at one run; the one that gets True writes. Raises OutOfSightError for
    a folder that cannot be made or written."""
    with _kept_in(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "following.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def read_lines(folder: Path, offset: int, *, over: bool = False) -> tuple[list[str], int]:
    """Whole lines from `offset`, some at a time, and where they end; none before there is a log.

    over: nothing comes any more, so that a line without an end is a line too.
    """
    try:
        with (folder / "log").open("rb") as stream:
            stream.seek(offset)
            data = stream.read(_BLOCK)
    except FileNotFoundError:
        return [], offset
    full = len(data) == _BLOCK  # there may be more of the last line
    if (over and not full) or (full and b"\n" not in data):
        whole = data
    else:
        whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", "replace").removesuffix("\n").split("\n") if whole else []
    return lines, offset + len(whole)


def print_log(backend: Backend, handle: Handle, offset: int) -> int:
    """All that there is of a run's log from `offset`; where it ends."""
    while True:
        lines, offset = backend.read_log(handle, offset)
        if not lines:
            return offset
        print_lines(lines)


def print_lines(lines: Sequence[str]) -> None:
    """Whatever signs stdout does not have."""
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()

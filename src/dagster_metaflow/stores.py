"""The store that a ledger lies on: whatever its client raises is an OSError here, and in time.

Clients have errors of their own (botocore's, Azure's, plain RuntimeErrors), which nobody above need
know: a store that does not answer is like a disk that does not. And they have a patience of their
own, in which tries of the client's are multiplied by fsspec's: 15 s, five times, five times over,
for an S3 that is silent. Within the time that a call has here they try as they like, and as
fsspec's configuration tells them to.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

SECONDS = "DAGSTER_METAFLOW_STORE_SECONDS"
"""Variable: time in which a call of a store has to end."""
_DEFAULT_SECONDS = 30.0
_BYTES_A_SECOND = 1e6  # of the slowest network that a write is waited for on
_CALLS = frozenset({"ls", "find", "info", "cat_file", "pipe_file", "rm_file"})

# Bounded, so that a long text without an address is passed over quickly.
_SCHEME = r"\b([a-z][a-z0-9+.-]{0,15}://"
_QUERY = re.compile(_SCHEME + r"[^\s?#\"']*)[?#][^\s\"']*", re.IGNORECASE)
_LOGIN = re.compile(_SCHEME + r")[^\s/?#@]*:[^\s/?#@]*@", re.IGNORECASE)


@contextmanager
def opened(uri: str, *, anew: bool = False, patience: float = 1.0) -> Iterator[tuple[Any, str]]:
    """fsspec's file system and the path there. In the block stand calls of it, and nothing else.

    anew: with nothing remembered of earlier listings. patience: by which the time of a call is
    multiplied. Raises OSError for all that goes wrong, TimeoutError for what takes too long.
    """
    import fsspec
    from fsspec.exceptions import FSTimeoutError

    try:
        seconds = patience * _seconds()
        fs, path = fsspec.url_to_fs(uri)
        if anew:
            fs.invalidate_cache()
        yield _InTime.of(fs, seconds), path
    except FSTimeoutError:
        words = f"{without_secrets(uri)}: no answer in {seconds:g} s ({SECONDS})"
        raise TimeoutError(words) from None
    except OSError:  # FileNotFoundError among them, which callers tell apart
        raise
    except Exception as error:
        words = without_secrets(str(error)).strip() or type(error).__name__
        raise OSError(words) from error


class _InTime:
    """A remote file system whose calls end in time: fsspec has to be told so with each of them."""

    def __init__(self, fs: Any, seconds: float) -> None:
        self._fs = fs
        self._seconds = seconds

    @classmethod
    def of(cls, fs: Any, seconds: float) -> Any:
        """`fs` itself where it is none that waits for a network by fsspec's own loop."""
        from fsspec.asyn import AsyncFileSystem

        return cls(fs, seconds) if isinstance(fs, AsyncFileSystem) else fs

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._fs, name)
        return partial(found, timeout=self._seconds) if name in _CALLS else found


def _seconds() -> float:
    given = os.environ.get(SECONDS, "")
    try:
        seconds = float(given or _DEFAULT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise OSError(f"{SECONDS}={given!r} is no number of seconds: correct or unset it")
    return seconds


def read_file(uri: str) -> bytes | None:
    """As the store has it now; None for what is not there."""
    try:
        with opened(uri, anew=True) as (fs, path):
            return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None


def is_folder(uri: str) -> bool:
    """Of this machine, where looking costs nothing."""
    return "://" not in uri or uri.startswith("file://")


def write_file(uri: str, data: bytes, *, patience: float = 1.0) -> None:
    """Whole or not at all: other stores make an object visible when its one upload has ended.

    patience: as of `opened`, for each megabyte too.
    """
    if not is_folder(uri):
        more = len(data) / _BYTES_A_SECOND / _DEFAULT_SECONDS
        with opened(uri, patience=patience + more) as (fs, path):
            fs.pipe_file(path, data)
        return
    place = Path(uri.removeprefix("file://")).expanduser()
    place.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(place, data) as temporary:
        temporary.replace(place)


@contextmanager
def written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """A file in the folder of `path` with the data on disk, to be given its name; else it goes."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def without_secrets(text: str) -> str:
    """A signed address would give its reader the store."""
    return _LOGIN.sub(r"\1", _QUERY.sub(r"\1", text))

"""The store that a ledger lies on: whatever its client raises is an OSError here.

Clients have errors of their own (botocore's, Azure's, plain RuntimeErrors), which nobody above need
know: a store that does not answer is like a disk that does not.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Bounded, so that a long text without an address is passed over quickly.
_SCHEME = r"\b([a-z][a-z0-9+.-]{0,15}://"
_QUERY = re.compile(_SCHEME + r"[^\s?#\"']*)[?#][^\s\"']*", re.IGNORECASE)
_LOGIN = re.compile(_SCHEME + r")[^\s/?#@]*:[^\s/?#@]*@", re.IGNORECASE)


@contextmanager
def opened(uri: str, *, anew: bool = False) -> Iterator[tuple[Any, str]]:
    """fsspec's file system and the path there. In the block stand calls of it, and nothing else.

    anew: with nothing remembered of earlier listings. Raises OSError for all that goes wrong.
    """
    import fsspec

    try:
        fs, path = fsspec.url_to_fs(uri)
        if anew:
            fs.invalidate_cache()
        yield fs, path
    except OSError:  # FileNotFoundError among them, which callers tell apart
        raise
    except Exception as error:
        words = without_secrets(str(error)).strip() or type(error).__name__
        raise OSError(words) from error


def read_file(uri: str) -> bytes | None:
    """As the store has it now; None for what is not there."""
    try:
        with opened(uri, anew=True) as (fs, path):
            return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None


def write_file(uri: str, data: bytes) -> None:
    """Whole or not at all: other stores make an object visible when its one upload has ended."""
    if "://" in uri and not uri.startswith("file://"):
        with opened(uri) as (fs, path):
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

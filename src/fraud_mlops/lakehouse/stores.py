"""Files on any fsspec store, with one way to write them: whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from fraud_mlops.errors import LakehouseError, ReplacedError
from fraud_mlops.lakehouse.addresses import EXTRAS, refuse_odd, require_root
from fraud_mlops.lakehouse.local_files import (
    ABSENT,
    StoredFile,
    is_temporary,
    local_files,
    local_tag,
    local_writer,
    remove_version,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_TIMES = ("LastModified", "last_modified", "mtime", "modified", "created")
_BLOCK = 1 << 20
REREADS = 20

_Read = TypeVar("_Read")


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """The store of `uri` and the path in it; local paths become absolute.

    Raises LakehouseError when the store's client is not installed, SettingsError when the settings
    know no such account, and for an address that holds a password or a signature.
    """
    import fsspec

    refuse_odd(uri)
    protocol = uri.partition("://")[0] if "://" in uri else "file"
    if protocol == "file":
        local = Path(uri.removeprefix("file://")).expanduser().absolute()
        return fsspec.filesystem("file"), local.as_posix()
    extra = EXTRAS.get(protocol)
    try:
        if extra == "azure":
            from fraud_mlops.lakehouse.adls import adls

            return adls(uri)
        if extra == "aws":
            from fraud_mlops.lakehouse.s3 import s3

            return s3(uri)
        fs, path = fsspec.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        mend = f"pip install 'fraud-mlops[{extra}]'" if extra else f"is {protocol}:// a store?"
        raise LakehouseError(f"{protocol}:// cannot be opened ({error}); {mend}") from None
    return fs, path


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def join(root: str, *parts: str) -> str:
    """`root/part/part`, whatever the store; a part that would leave the root is refused."""
    for part in parts:
        if not part or part.startswith("/") or ".." in part.split("/"):
            raise LakehouseError(f"{part!r} is not a name under {root}")
    return posixpath.join(root.rstrip("/") or "/", *parts)


def absolute(uri: str) -> str:
    """The same place of a root from whatever folder one asks. Raises LakehouseError for none."""
    if is_local(require_root(uri)):
        return Path(filesystem(uri)[1]).as_posix()
    return uri.rstrip("/")


def models_root(lakehouse_uri: str, model_uri: str | None) -> str:
    """The registry's root, absolute: one that is given, or beside the lakehouse's zones."""
    return absolute(model_uri or join(lakehouse_uri, "models"))


def exists(uri: str) -> bool:
    fs, path = filesystem(uri)
    return bool(fs.exists(path))


def read_bytes(uri: str) -> bytes:
    """The whole object. Raises FileNotFoundError when there is none."""
    fs, path = filesystem(uri)
    if not getattr(fs, "pins_versions", False):
        with fs.open(path, "rb") as stream:
            return cast("bytes", stream.read())
    # One answer is of one version.
    return again(uri, lambda: cast("bytes", fs.cat_file(path, max_concurrency=1)))


def again(uri: str, read: Callable[[], _Read]) -> _Read:
    """Reads until no writer comes between; raises ReplacedError when one always does."""
    for attempt in range(REREADS):
        with contextlib.suppress(ReplacedError):
            return read()
        pause(attempt)
    raise ReplacedError(f"{uri}: is replaced faster than it can be read; try again later")


def pause(attempt: int) -> None:
    """A moment, longer each time, for a writer to get out of the way."""
    time.sleep(random.uniform(0, 0.02) * attempt)  # noqa: S311 - no secret


def write_bytes(uri: str, data: bytes) -> None:
    with atomic_writer(uri) as stream:
        stream.write(data)


def read_tagged(uri: str) -> tuple[bytes, str] | None:
    """An object, and the tag of the version that was read; None when there is none.

    The tag is empty where the store has no conditional writes.
    """

    def read() -> tuple[bytes, str]:
        with open_input(uri) as stream:
            return stream.read(), str(getattr(stream, "tag", ""))

    try:
        return again(uri, read)
    except FileNotFoundError:
        return None


def write_tagged(uri: str, data: bytes, tag: str | None) -> None:
    """Replaces the version of that tag, or makes the object where there is none (None).

    Raises ReplacedError, and changes nothing, when another writer came first. On a folder, whose
    versions have no tags, the caller keeps others out by a lock.
    """
    fs, path = filesystem(uri)
    replace = getattr(fs, "write_version", None)
    if replace is None:
        write_bytes(uri, data)
        return
    try:
        replace(path, data, tag)
    except ReplacedError:
        found = read_tagged(uri)  # our own, whose answer was lost on the way?
        if found is None or found[0] != data:
            raise


def upload(path: Path, uri: str) -> None:
    """Copies a local file to `uri`, whole or not at all, in flat memory."""
    with path.open("rb") as source, atomic_writer(uri) as target:
        shutil.copyfileobj(source, target, _BLOCK)


@contextlib.contextmanager
def open_input(uri: str, *, buffer: int = 0) -> Iterator[BinaryIO]:
    """A seekable stream of the version that stands there now, also while it is being replaced.

    buffer: bytes to fetch at a time from another store, for who reads from front to back; without
    it each read is a request. Raises FileNotFoundError when there is no such object, and
    ReplacedError in a read where the store no longer has the version.
    """
    fs, path = filesystem(uri)
    if not getattr(fs, "pins_versions", False):
        with fs.open(path, "rb") as stream:
            yield stream
        return
    from fraud_mlops.lakehouse.remote_file import RemoteFile

    with RemoteFile(fs, path, uri) as raw:
        yield cast("BinaryIO", io.BufferedReader(raw, buffer) if buffer else raw)


@contextlib.contextmanager
def atomic_writer(uri: str, *, replacing: str | None = None) -> Iterator[BinaryIO]:
    """A stream whose content appears under `uri` when the block ends well, else not at all.

    Locally a temporary file in the same folder, synced and renamed; elsewhere a local file,
    then one committed upload. What a killed process left half-written is removed by the next
    writer of that name.
    replacing: tag of the version that it takes the place of, or ABSENT; raises ReplacedError, and
    changes nothing, when another stands there by then.
    """
    fs, path = filesystem(uri)
    if is_local(uri):
        with local_writer(Path(path), replacing) as stream:
            yield stream
        return
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        spool = Path(folder) / "object"
        with spool.open("xb") as stream:
            yield stream
        if replacing and hasattr(fs, "put_version"):
            fs.put_version(spool.as_posix(), path, None if replacing == ABSENT else replacing)
        else:
            fs.put_file(spool.as_posix(), path)


def tag_of(stream: BinaryIO) -> str:
    """Of the version that a stream of `open_input` reads; empty where the store has none."""
    if tag := getattr(stream, "tag", ""):
        return str(tag)
    try:
        return local_tag(os.fstat(stream.fileno()))
    except (OSError, AttributeError):  # in memory
        return ""


def tag_at(uri: str) -> str | None:
    """Of the object that stands there now (ETag, or inode, time and size); None without one."""
    try:
        with open_input(uri) as stream:
            return tag_of(stream)
    except FileNotFoundError:
        return None


def list_files(uri: str) -> list[StoredFile]:
    """Every file below a folder by one listing, in order of path; none when it is not there."""
    fs, path = filesystem(uri)
    if is_local(uri):
        return sorted(local_files(path, ""))
    fs.invalidate_cache()
    found = fs.find(path, detail=True)
    inside = ((str(name).removeprefix(path).strip("/"), info) for name, info in found.items())
    return sorted(
        StoredFile(name, int(info["size"]), changed_at(info)) for name, info in inside if name
    )


def changed_at(info: Mapping[str, Any]) -> float:
    """When a store last changed an object, in seconds since 1970; 0 where it does not say."""
    found = next((info[key] for key in _TIMES if info.get(key) is not None), 0.0)
    return found.timestamp() if isinstance(found, datetime) else float(found)


def delete(uri: str) -> None:
    """A file or a whole folder; one that is not there is no error."""
    fs, path = filesystem(uri)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def delete_version(uri: str, tag: str) -> None:
    """Removes the version of that tag; one that is not there is no error.

    Raises ReplacedError, and removes nothing, when another stands there by then.
    """
    fs, path = filesystem(uri)
    with contextlib.suppress(FileNotFoundError):
        if is_local(uri):
            remove_version(Path(path), tag)
        elif hasattr(fs, "delete_version"):
            try:
                fs.delete_version(path, tag)
            except ReplacedError:  # as Azure says of what is gone, too
                if fs.exists(path):
                    raise
        else:
            fs.rm(path)


def list_children(uri: str) -> list[str]:
    """Names directly under a folder, sorted; none when it is not there. Temporary files not."""
    fs, path = filesystem(uri)
    fs.invalidate_cache()
    try:
        found = fs.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = (posixpath.basename(str(child).rstrip("/")) for child in found)
    return sorted(name for name in names if not is_temporary(name))

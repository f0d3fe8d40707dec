"""Files on any fsspec store, with one way to write them: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from fraud_mlops.errors import LakehouseError
from fraud_mlops.fields import refuse_credentials
from fraud_mlops.settings import settings

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_EXTRAS = {"abfs": "azure", "abfss": "azure", "az": "azure", "s3": "aws", "s3a": "aws"}
_BLOCK = 1 << 20
_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{32}\.tmp$")


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """The store of `uri` and the path in it; local paths become absolute.

    Raises LakehouseError when the store's client is not installed or knows no such account, and
    for an address that holds a password or a signature.
    """
    import fsspec

    try:
        refuse_credentials(uri)
    except ValueError as error:
        raise LakehouseError(str(error)) from None

    protocol = uri.partition("://")[0] if "://" in uri else "file"
    if protocol == "file":
        local = Path(uri.removeprefix("file://")).expanduser().absolute()
        return fsspec.filesystem("file"), local.as_posix()
    try:
        fs, path = fsspec.url_to_fs(uri, **_credentials(protocol))
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(protocol)
        mend = f"pip install 'fraud-mlops[{extra}]'" if extra else f"is {protocol}:// a store?"
        raise LakehouseError(f"{protocol}:// cannot be opened ({error}); {mend}") from None
    return fs, path


def _credentials(protocol: str) -> dict[str, Any]:
    if _EXTRAS.get(protocol) != "azure":
        return {}
    account = settings().azure_storage_account_name
    token = settings().azure_storage_sas_token
    found = {"account_name": account, "sas_token": token and token.get_secret_value()}
    return {name: value for name, value in found.items() if value}


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def join(root: str, *parts: str) -> str:
    """`root/part/part`, whatever the store; a part that would leave the root is refused."""
    for part in parts:
        if not part or part.startswith("/") or ".." in part.split("/"):
            raise LakehouseError(f"{part!r} is not a name under {root}")
    return posixpath.join(root.rstrip("/") or "/", *parts)


def absolute(uri: str) -> str:
    """The same place from whatever folder one asks."""
    path = filesystem(uri)[1]
    return Path(path).as_posix() if is_local(uri) else uri.rstrip("/")


def exists(uri: str) -> bool:
    fs, path = filesystem(uri)
    return bool(fs.exists(path))


def read_bytes(uri: str) -> bytes:
    """The whole object. Raises FileNotFoundError when there is none."""
    fs, path = filesystem(uri)
    with fs.open(path, "rb") as stream:
        return cast("bytes", stream.read())


def write_bytes(uri: str, data: bytes) -> None:
    with atomic_writer(uri) as stream:
        stream.write(data)


def upload(path: Path, uri: str) -> None:
    """Copies a local file to `uri`, whole or not at all, in flat memory."""
    with path.open("rb") as source, atomic_writer(uri) as target:
        shutil.copyfileobj(source, target, _BLOCK)


@contextlib.contextmanager
def open_input(uri: str) -> Iterator[BinaryIO]:
    """A seekable stream. Raises FileNotFoundError when there is no such object."""
    fs, path = filesystem(uri)
    with fs.open(path, "rb") as stream:
        yield stream


@contextlib.contextmanager
def atomic_writer(uri: str) -> Iterator[BinaryIO]:
    """A stream whose content appears under `uri` when the block ends well, else not at all.

    Locally a temporary file in the same folder, synced and renamed; elsewhere a local file,
    then one committed upload. What a killed process left half-written is removed by the next
    writer of that name.
    """
    fs, path = filesystem(uri)
    if is_local(uri):
        with _local_writer(Path(path)) as stream:
            yield stream
        return
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        spool = Path(folder) / "object"
        with spool.open("xb") as stream:
            yield stream
        fs.put_file(spool.as_posix(), path)


@contextlib.contextmanager
def _local_writer(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
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


def size(uri: str) -> int:
    """Bytes of an object."""
    fs, path = filesystem(uri)
    return int(fs.size(path))


def delete(uri: str) -> None:
    """A file or a whole folder; one that is not there is no error."""
    fs, path = filesystem(uri)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def list_children(uri: str) -> list[str]:
    """Names directly under a folder, sorted; none when it is not there. Temporary files not."""
    fs, path = filesystem(uri)
    fs.invalidate_cache()
    try:
        found = fs.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = (posixpath.basename(str(child).rstrip("/")) for child in found)
    return sorted(name for name in names if not _TEMPORARY.match(name))

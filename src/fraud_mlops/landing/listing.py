"""What lies in the landing zone of a contract, by one listing.

The rules are those of `fraud_mlops.claims.files.find_files`: one file, a folder, or a pattern.
That one asks the store about each file; this one takes what the listing says, so that a hundred
thousand files are looked over in a second.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fraud_mlops.errors import NotThereError, SourceError
from fraud_mlops.lakehouse.stores import changed_at, filesystem, is_local
from fraud_mlops.sources import FileSource

_PATTERN = re.compile(r"[*?\[]")
_TAGS = ("ETag", "etag", "versionId", "md5Checksum")


class Landed(NamedTuple):
    """A file and the version of it that was seen.

    path: as the store names it. changed: seconds since 1970; on this machine also of a rename,
    which leaves the time of the content as it was. tag: the store's own of the content, if any.
    """

    path: str
    size: int
    changed: float
    tag: str = ""


def landed_files(
    source: FileSource, closed: list[Landed] | None = None, *, seconds: float | None = None
) -> list[Landed]:
    """The files of a source as they are now, in order of their path; none where it is empty.

    closed: is given the folders and files of this machine that may not be looked at, which are
    passed over. seconds: time limit for listing a remote store, whose client would try longer.
    Raises NotThereError for a place that is not there, SourceError for one that cannot be listed.
    """
    fs, path = filesystem(source.uri)
    try:
        found = (
            _here(path, [] if closed is None else closed)
            if is_local(source.uri)
            else _there(fs, path, _limit(fs, seconds))
        )
        return sorted(found)
    except FileNotFoundError:
        raise NotThereError(f"{source.uri}: there is no such file or folder yet") from None
    except OSError as error:
        silent = f"no answer in {seconds:g} s" if seconds else type(error).__name__
        why = str(error) or silent
        raise SourceError(f"{source.uri}: cannot be listed: {why}") from None


def landed_file(uri: str) -> Landed | None:
    """One file as it is now; None when it is gone."""
    fs, path = filesystem(uri)
    try:
        if is_local(uri):
            return _stamped(path, os.stat(path))  # noqa: PTH116 - one stat, no object
        return _described(path, fs.info(path))
    except FileNotFoundError:
        return None


def content_of(uri: str, file: Landed) -> int:
    """Hash of what is in a file, that one which is only touched is known again; 0 when unknown.

    On this machine of its bytes. Of another store of its tag, so that nothing is fetched: S3 has
    one and the same for the same content; that of ADLS is another after every write.
    """
    if not is_local(uri):
        return (
            _number(hashlib.blake2b(file.tag.encode(), digest_size=8).digest()) if file.tag else 0
        )
    try:
        with open(file.path, "rb") as stream:  # noqa: PTH123 - as it is named, whatever it is
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=8))
    except OSError:  # whoever reads it says so
        return 0
    return _number(digest.digest())


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "little")


def listing_version(files: Iterable[Landed]) -> str:
    """Hash of names, sizes and times: another one when a file is new, gone or not the same."""
    digest = hashlib.sha256()
    digest.update("\n".join(map(repr, files)).encode())
    return digest.hexdigest()[:32]


def _here(path: str, closed: list[Landed]) -> Iterator[Landed]:
    """Of this machine, with a stat for each file and nothing else."""
    if os.path.isfile(path):  # noqa: PTH113 - a path of fsspec's
        return iter([_stamped(path, os.stat(path))])  # noqa: PTH116
    if os.path.isdir(path):  # noqa: PTH112
        return _walk(path, None, lambda _: True, closed, hidden=False)
    match = _PATTERN.search(path)
    if match is None:
        raise FileNotFoundError(path)
    from fsspec.utils import glob_translate

    base = posixpath.dirname(path[: match.start()]) or "/"
    depth = None if "**" in path else path.count("/") - base.rstrip("/").count("/")
    return _walk(base, depth, re.compile(glob_translate(path)).match, closed, hidden=True)


def _walk(
    folder: str,
    depth: int | None,
    wanted: Callable[[str], object],
    closed: list[Landed],
    *,
    hidden: bool,
) -> Iterator[Landed]:
    """Files below a folder. depth: levels to go down, 1 for the folder's own files.

    What is gone when it is looked at, as a link that leads nowhere or in a circle, is passed over,
    and so are links to folders, which ingest does not follow. What may not be looked at is, too,
    and is `closed`.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not hidden and entry.name.startswith((".", "_")):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth is None or depth > 1:
                        deeper = None if depth is None else depth - 1
                        yield from _walk(entry.path, deeper, wanted, closed, hidden=hidden)
                elif wanted(entry.path) and not entry.is_dir():
                    yield _stamped(entry.path, entry.stat())
            except FileNotFoundError:
                continue
            except PermissionError:
                closed.append(Landed(entry.path, 0, 0.0))
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise


def _stamped(path: str, stat: os.stat_result) -> Landed:
    return Landed(path, stat.st_size, max(stat.st_mtime, stat.st_ctime))


def _limit(fs: Any, seconds: float | None) -> dict[str, float]:
    """As fsspec takes it with each call, where it waits for a network itself."""
    from fsspec.asyn import AsyncFileSystem

    return {"timeout": seconds} if seconds and isinstance(fs, AsyncFileSystem) else {}


def _there(fs: Any, path: str, limit: Mapping[str, float]) -> Iterator[Landed]:
    """Of another store: one listing, whose answer says all there is to know."""
    fs.invalidate_cache()
    match = _PATTERN.search(path)
    if match is None:
        for name, info in fs.find(path, detail=True, **limit).items():
            inside = name.removeprefix(path).strip("/")
            if not any(part.startswith((".", "_")) for part in inside.split("/")):
                yield _described(name, info)
        return
    from fsspec.utils import glob_translate

    base, wanted = posixpath.dirname(path[: match.start()]), re.compile(glob_translate(path)).match
    deep = posixpath.dirname(path) != base or "**" in path
    for name, info in _below(fs, base, limit, deep=deep):
        if info.get("type", "file") == "file" and wanted(name):
            yield _described(name, info)


def _below(
    fs: Any, folder: str, limit: Mapping[str, float], *, deep: bool
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if deep:
        found: Mapping[str, Mapping[str, Any]] = fs.find(folder, detail=True, **limit)
        return found.items()
    try:
        return [(info["name"], info) for info in fs.ls(folder, detail=True, **limit)]
    except FileNotFoundError:
        return []


def _described(path: str, info: Mapping[str, Any]) -> Landed:
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
    return Landed(path, int(info.get("size") or 0), changed_at(info), tag.strip('"'))

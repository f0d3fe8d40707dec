"""Which files a source URI stands for, and what they hold."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.local_files import printable
from fraud_mlops.lakehouse.stores import filesystem
from fraud_mlops.sources import FileSource

Format = Literal["csv", "parquet"]
Rows = npt.NDArray[np.int64]

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".psv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True)
class SourceFile:
    """One file of a source. `name` is what messages and the quarantine call it.

    folders: names of those that it is in below the source's own, or below where a glob begins.
    keys: columns that stand in them (`region=north`) and not in the file, with their one value.
    member: name of the one file in a `claims.zip`, which does not say itself what it holds.
    """

    fs: Any
    path: str
    name: str
    folders: tuple[str, ...] = ()
    keys: tuple[tuple[str, str | None], ...] = ()
    member: str | None = None

    @property
    def suffix(self) -> str:
        """Of the content: `.csv` for `claims.csv.gz`."""
        return posixpath.splitext(self.member or self._uncompressed)[1].lower()

    @property
    def format(self) -> Format | None:
        """As its name says; None for a suffix that is not known."""
        return _FORMATS.get(self.suffix)

    @property
    def compression(self) -> str | None:
        return "infer" if self._uncompressed != self.path else None

    @property
    def place(self) -> str:
        """`2024/claims.csv`: below the source's own folder, whatever lies beside it, packed or not.

        Claims that no column names are named by it.
        """
        return "/".join((*self.folders, posixpath.basename(self._uncompressed)))

    def with_keys(self, columns: Collection[str]) -> SourceFile:
        """columns: names that are no keys, since the file has such columns or nobody wants them."""
        pairs = (part.partition("=") for part in self.folders)
        named = {unquote(key): unquote(value) for key, sign, value in pairs if key and sign}
        keys = {k: None if v == _NO_VALUE else v for k, v in named.items() if k not in columns}
        return replace(self, keys=tuple(keys.items()))

    @property
    def _uncompressed(self) -> str:
        stem, end = posixpath.splitext(self.path)
        return stem if end.lower() in _COMPRESSIONS else self.path

    def open(self) -> Any:
        """Binary, decompressed."""
        try:
            if not self.path.lower().endswith(".zip"):
                return self.fs.open(self.path, "rb", compression=self.compression)
            packed = zipfile.ZipFile(self.fs.open(self.path, "rb"))
            return packed.open(self._only(_members(packed)))
        except (ValueError, ImportError, zipfile.BadZipFile) as error:
            raise SourceError(f"{self.name}: cannot be decompressed: {error}") from error

    def _only(self, members: list[str]) -> str:
        """fsspec would read the first, and pass over the others without a word."""
        if len(members) != 1:
            raise SourceError(
                f"{self.name}: holds {len(members)} files, of which one would be read; pack each "
                "by itself, or unpack them and give their folder as `source.uri`"
            )
        return members[0]

    def with_member(self) -> SourceFile:
        """Looked into, where it is a zip whose name says nothing."""
        if self.format or not self.path.lower().endswith(".zip"):
            return self
        with suppress(OSError, zipfile.BadZipFile):  # told when it is read, if ever
            with self.fs.open(self.path, "rb") as stream, zipfile.ZipFile(stream) as packed:
                members = _members(packed)
            return replace(self, member=members[0] if len(members) == 1 else None)
        return self


def _members(packed: zipfile.ZipFile) -> list[str]:
    """Without folders, and what a Mac packs beside its files."""
    names = [one.filename for one in packed.infolist() if not one.is_dir()]
    return [
        name
        for name in names
        if not name.startswith("__MACOSX/") and not posixpath.basename(name).startswith(".")
    ]


@dataclass(frozen=True)
class Unreadable:
    """A line with a wrong number of fields. `row` counts data records from 1."""

    row: int
    line: str
    expected: int
    found: int


@dataclass(frozen=True)
class Chunk:
    """Rows of one file in order: `rows` counts data records of the file from 1."""

    file: SourceFile
    batch: pa.RecordBatch
    rows: Rows
    unreadable: tuple[Unreadable, ...] = ()

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def __getitem__(self, column: str) -> pa.Array:
        return self.batch.column(self.batch.schema.get_field_index(column))


def file_of(source: FileSource, uri: str) -> SourceFile:
    """One file of the source, by its address. Raises SourceError when it is not there."""
    (file,) = find_files(source.model_copy(update={"uri": uri}))
    path = filesystem(source.uri)[1].rstrip("/")
    root = path if file.path.startswith(f"{path}/") else _before_signs(path)
    below = file.path.startswith(f"{root}/") and file.path != path
    return replace(file, folders=tuple(_inside(file.path, root)[:-1]) if below else ())


def _before_signs(glob: str) -> str:
    return posixpath.dirname(re.split(r"[*?\[]", glob, maxsplit=1)[0])


def find_files(source: FileSource, without: Collection[str] = ()) -> list[SourceFile]:
    """The files behind `source.uri` in order of their path: one, a folder's or a glob's.

    In a folder, names that start with a dot or an underscore (`_SUCCESS`) are passed over.
    without: paths of files that are not to be read. Raises SourceError when there is none.
    """
    try:
        fs, path = filesystem(source.uri)
        # A name that is there is meant as it stands, be there a "[" in it or not.
        if fs.isfile(path):
            paths, root = [path], posixpath.dirname(path)
        elif fs.isdir(path):
            root = path
            paths = [p for p in fs.find(path) if not _hidden(p, path)]
        elif any(sign in path for sign in "*?["):
            root = _before_signs(path)
            paths = [p for p in fs.glob(path) if fs.isfile(p)]
        else:
            raise SourceError(f"{source.uri}: no such file or folder{_neighbours(fs, path)}")
    except (OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"{source.uri}: cannot be listed: {error}") from error
    if not paths:
        raise SourceError(f"{source.uri}: matches no file; correct `source.uri` of the contract")
    paths = [path for path in paths if path not in without]
    if not paths:
        raise SourceError(f"{source.uri}: all {len(without)} files are bad, and are set aside")
    local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
    names = {path: path if local else fs.unstrip_protocol(path) for path in sorted(paths)}
    return [
        SourceFile(fs, path, printable(name), tuple(_inside(path, root)[:-1])).with_member()
        for path, name in names.items()
    ]


def _hidden(path: str, folder: str) -> bool:
    return any(part.startswith((".", "_")) for part in _inside(path, folder))


def _inside(path: str, folder: str) -> list[str]:
    return path.removeprefix(folder).strip("/").split("/")


def _neighbours(fs: Any, path: str) -> str:
    from difflib import get_close_matches

    folder, name = posixpath.split(path)
    try:
        names = [posixpath.basename(p.rstrip("/")) for p in fs.ls(folder, detail=False)]
    except OSError:
        return f" (nor is there a folder {folder})"
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def require_own_places(uri: str, files: Iterable[SourceFile]) -> None:
    """Where claims are named by their file's place: SourceError for two files that have one."""
    there: dict[str, SourceFile] = {}
    for file in files:
        if (other := there.setdefault(file.place, file)) is not file:
            raise SourceError(
                f"{uri}: {other.name} and {file.name} would give their claims the same ids "
                f"({file.place}-1, ...), for the contract has no `claim_id`. If they hold the same "
                "claims, remove one; else rename one, or name the column that has ids: `claim_id`"
            )


def format_named(path: str) -> Format | None:
    """What a file of that name holds; None for a suffix that is not known."""
    return SourceFile(None, path, path).format


def format_of(source: FileSource, files: list[SourceFile]) -> tuple[Format, list[SourceFile]]:
    """The source's format, and the files that are in it.

    Without `source.format` it is told from the suffixes, and files of other suffixes (a README
    in the folder) are passed over.
    """
    if source.format:
        return source.format, files
    known = [file for file in files if file.format]
    formats = sorted({file.format for file in known if file.format})
    if len(formats) != 1:
        why = f"{' and '.join(formats)} files side by side" if formats else "unknown suffix"
        raise SourceError(
            f"{source.uri}: {why} ({', '.join(f.name for f in files[:3])}); "
            "give `source.format`: csv or parquet"
        )
    return formats[0], known

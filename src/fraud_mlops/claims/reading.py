"""A contract's source, whatever its format: columns, row count, chunks of rows.

CSV and Parquet, one file or many, look alike from here on: `Chunk`s whose rows know their file
and their number in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fraud_mlops.claims import csv_files, diagnosis, parquet_files
from fraud_mlops.claims.files import (
    Chunk,
    Format,
    SourceFile,
    file_of,
    find_files,
    format_of,
    require_own_places,
)
from fraud_mlops.claims.values import POINT, Signs, is_number
from fraud_mlops.contract import Contract, Label
from fraud_mlops.errors import SourceError
from fraud_mlops.sources import CsvOptions, FileSource


@dataclass(frozen=True)
class Source:
    """The files of a source, whose columns have been seen to agree."""

    uri: str
    format: Format
    csv: CsvOptions
    files: tuple[SourceFile, ...]
    types: Mapping[str, pa.DataType]
    """Columns that may be read, in file order; text for CSV. Ignored ones are not here.

    Those that stand in the names of folders come last, as text.
    """
    keys_of_some: Mapping[str, int] = field(default_factory=dict)
    """Names of folders that only so many of the files are in: no columns."""
    ignored: frozenset[str] = frozenset()
    """Columns that the contract ignores, of those that some file has."""
    passed_over: tuple[str, ...] = ()
    """Names of files of text that lie beside the claims and are taken for none."""

    @property
    def columns(self) -> list[str]:
        return list(self.types)

    @property
    def signs(self) -> Signs:
        return Signs(self.csv.decimal, self.csv.thousands) if self.format == "csv" else POINT

    def require(self, columns: Collection[str]) -> None:
        """SourceError names every column that is missing, and the closest one there is."""
        if absent := [c for c in dict.fromkeys(columns) if c not in self.types]:
            first, is_csv = self.files[0], self.format == "csv"
            own = [c for c in columns if c not in self.folder_keys]
            raise diagnosis.missing_columns(
                first.name,
                absent,
                self.columns,
                csv_file=is_csv,
                header_at=csv_files.header_below(first, self.csv, own) if is_csv else None,
            )

    @property
    def folder_keys(self) -> list[str]:
        """Columns that stand in the names of folders (`region=north`), as Hive and Spark write."""
        return list(dict.fromkeys(key for file in self.files for key, _ in file.keys))

    def signature(self, among: Collection[str] | None = None) -> object:
        """The same for sources that may be read as one table. among: columns that are read."""
        return frozenset((n, _family(t)) for n, t in _only(self.types, among).items())

    def require_like(self, other: Source, among: Collection[str] | None = None) -> None:
        """SourceError tells how the columns of the other source differ from those of this one.

        among: columns that are read, all when left out.
        """
        if differences := _differences(_only(self.types, among), _only(other.types, among)):
            raise diagnosis.unlike_schemas(self.files[0].name, other.files[0].name, differences)

    def count(self) -> int:
        """Data records, the unreadable ones included. A CSV is parsed once for it."""
        if self.format == "parquet":
            return sum(map(parquet_files.count_rows, self.files))
        first = self.columns[:1]
        return sum(len(c) + len(c.unreadable) for f in self.files for c in self._file(f, first))

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """All rows in order. Raises SourceError when there is not one."""
        wanted = self.columns if columns is None else columns
        rows = 0
        for file in self.files:
            for chunk in self._file(file, wanted):
                rows += len(chunk) + len(chunk.unreadable)
                yield chunk
        if not rows:
            raise SourceError(f"{self.files[0].name}: has column names but no row under them")

    def _file(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Chunk]:
        keys = dict(file.keys)
        own = [name for name in columns if name not in keys]
        # A reader that is asked for no column does not tell how many rows there are.
        own = own or [name for name in self.types if name not in keys][:1]
        chunks = (
            csv_files.read_chunks(file, self.csv, own)
            if self.format == "csv"
            else parquet_files.read_chunks(file, own)
        )
        return (_with_keys(chunk, columns, keys) for chunk in chunks) if keys else chunks


def _with_keys(chunk: Chunk, columns: Sequence[str], keys: Mapping[str, str | None]) -> Chunk:
    arrays = [
        pa.repeat(pa.scalar(keys[name], pa.string()), len(chunk)) if name in keys else chunk[name]
        for name in columns
    ]
    return replace(chunk, batch=pa.RecordBatch.from_arrays(arrays, list(columns)))


def open_source(
    contract: Contract, without: Collection[str] = (), *, only: str | None = None
) -> Source:
    """Finds the files of a contract's source and checks that their columns agree.

    without: paths of files that are not to be read. only: the address of one that is, alone.
    Raises SourceError for a source that is not there, is empty or is not what it should be,
    for columns that bear one name or, among those that are read, differ from file to file, and for
    files that would give their claims the same ids.
    """
    source = contract.source
    if not isinstance(source, FileSource):
        raise TypeError(f"{contract.name} is generated, not read from files")
    there = find_files(source, without) if only is None else [file_of(source, only)]
    passed_over = _strays(contract, source, there) if only is None else []
    form, found = format_of(source, [file for file in there if file not in passed_over])
    if form == "csv":
        _require_labels_that_are_read(contract, source.csv)
    if contract.claim_id is None:
        require_own_places(source.uri, found)
    unused = _keys_of_some(contract, found, only)
    seen = (_seen(file, form, source.csv, contract.ignore, unused) for file in found)
    (file, first, ignored), among = next(seen), read_columns(contract)
    files = [file]
    for file, other, more in seen:
        files.append(file)
        ignored |= more
        if differences := _differences(_only(first, among), _only(other, among)):
            raise diagnosis.unlike_schemas(files[0].name, file.name, differences)
        first = {n: other.get(n, t) if pa.types.is_null(t) else t for n, t in first.items()}
    told = {k: n for k, n in unused.items() if k not in first} if only is None else {}
    names = tuple(file.name for file in passed_over)
    return Source(source.uri, form, source.csv, tuple(files), first, told, ignored, names)


def _strays(
    contract: Contract, source: FileSource, files: Sequence[SourceFile]
) -> list[SourceFile]:
    """Text beside files of claims that is none."""
    if ".txt" in source.uri.lower() or all(f.suffix == ".txt" for f in files if f.format):
        return []
    return [f for f in files if f.suffix == ".txt" and not has_claims(contract, source, f)]


def has_claims(contract: Contract, source: FileSource, file: SourceFile) -> bool:
    """Whether a text's first line has one of the contract's columns, or cannot be read at all."""
    names = csv_files.top_names(file, source.csv)
    return names is None or not names.isdisjoint(contract.role_columns())


def _require_labels_that_are_read(contract: Contract, csv: CsvOptions) -> None:
    """Raises SourceError for a word of the contract's own that a CSV's blanks swallow."""
    label = contract.label
    for role, words in (("fraud", label.fraud), ("genuine", label.genuine)):
        usual = Label.model_fields[role].default
        swallowed = [word for word in words if word in csv.null_values]
        if swallowed and "" not in words and words != usual:
            raise SourceError(
                f"{contract.name}: label.{role} has {swallowed[0]!r}, which is a blank by "
                f'source.csv.null_values; take it out there, or write "" under label.{role} for '
                "all blanks"
            )


def read_columns(contract: Contract) -> frozenset[str] | None:
    """Source columns that are read; None for all, where the contract leaves features to be found.

    What files have beyond them is nothing to anybody, and may differ.
    """
    return frozenset([*contract.role_columns(), *contract.missing]) if contract.resolved else None


def _keys_of_some(
    contract: Contract, files: Sequence[SourceFile], only: str | None
) -> dict[str, int]:
    """Keys of folders that not all files are in, or that are not looked at together, and how many
    files are: no columns to be found, unless one is named."""
    if contract.resolved:
        return {}
    of = Counter(key for file in files for key, _ in file.with_keys(contract.ignore).keys)
    wanted = set(contract.role_columns())
    together = len(files) if only is None else None
    return {key: n for key, n in of.items() if n != together and key not in wanted}


def _only(
    types: Mapping[str, pa.DataType], among: Collection[str] | None
) -> dict[str, pa.DataType]:
    return {name: kind for name, kind in types.items() if among is None or name in among}


def _seen(
    file: SourceFile,
    form: Format,
    options: CsvOptions,
    ignore: Collection[str],
    unused: Collection[str],
) -> tuple[SourceFile, dict[str, pa.DataType], frozenset[str]]:
    """The file with its keys, the types of all that can be read of it, and what is ignored."""
    if form == "csv":
        names = csv_files.read_header(file, options)
        types = [pa.string()] * len(names)
    else:
        names, types = parquet_files.read_types(file)
    diagnosis.duplicate_columns(file.name, names, ignore)
    # A column without a name is the row index that some tools write.
    own = {n: t for n, t in zip(names, types, strict=True) if n and n not in ignore}
    there = {*names, *dict(file.with_keys(()).keys)}
    file = file.with_keys({*names, *ignore, *unused})
    return file, own | {key: pa.string() for key, _ in file.keys}, frozenset(ignore) & there


def _differences(first: Mapping[str, pa.DataType], other: Mapping[str, pa.DataType]) -> list[str]:
    """Order is free, and so is the kind of number or time.

    One missing value makes a column of whole numbers one of floats, and a column that is all
    null in one file has no type there.
    """
    told = [f"{name!r} is missing" for name in first if name not in other]
    told += [f"{name!r} is new" for name in other if name not in first]
    told += [
        f"{name!r} is {other[name]} there and {kind} here"
        for name, kind in first.items()
        if name in other
        and _family(other[name]) != _family(kind)
        and not (pa.types.is_null(kind) or pa.types.is_null(other[name]))
    ]
    return told


def _family(kind: pa.DataType) -> object:
    if is_number(kind):
        return "number"
    return "time" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else kind


def evenly_spaced(ordinals: np.ndarray, wanted: int, total: int) -> np.ndarray:
    """Which of the rows `ordinals` (from 0, of `total`) are among `wanted` evenly spaced ones."""
    kept: np.ndarray = (ordinals + 1) * wanted // total > ordinals * wanted // total
    return kept


def sampled(chunks: Iterable[Chunk], wanted: int, total: int) -> Iterator[Chunk]:
    """`wanted` rows of `total`, the same ones whatever the chunks; all when there are no more."""
    if wanted >= total:
        yield from chunks
        return
    before, file = 0, None
    seen = 0
    for chunk in chunks:
        if chunk.file != file:
            before, file = before + seen, chunk.file
            seen = 0
        seen += len(chunk) + len(chunk.unreadable)
        keep = evenly_spaced(before + chunk.rows - 1, wanted, total)
        lines = [
            bad
            for bad in chunk.unreadable
            if evenly_spaced(np.array([before + bad.row - 1]), wanted, total)[0]
        ]
        batch = chunk.batch if keep.all() else chunk.batch.filter(pa.array(keep))
        yield Chunk(chunk.file, batch, chunk.rows[keep], tuple(lines))

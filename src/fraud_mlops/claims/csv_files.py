"""CSV as a stream of text columns, with the number of every row known."""

from __future__ import annotations

import csv
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from fraud_mlops.claims import diagnosis
from fraud_mlops.claims.csv_lines import lines_of, pass_mark, top_lines
from fraud_mlops.claims.files import Chunk, SourceFile, Unreadable
from fraud_mlops.errors import SourceError
from fraud_mlops.sources import CsvOptions

# Bytes parsed at a time: 60,000 rows or so of 30 columns, and the longest row there may be.
_BLOCK = 16 << 20
_TOP = 20
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)


def separator_of(file: SourceFile, options: CsvOptions) -> str:
    """A `.tsv` is separated by tabs, a `.psv` by bars, unless the contract says otherwise."""
    usual = {".tsv": "\t", ".tab": "\t", ".psv": "|"}.get(file.suffix, ",")
    return usual if options.separator == "," else options.separator


def read_header(file: SourceFile, options: CsvOptions) -> list[str]:
    """Column names of one file; SourceError when it is empty or not such a CSV."""
    separator = separator_of(file, options)
    try:
        with file.open() as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic == b"PAR1":
                raise SourceError(f"{file.name}: is Parquet, not CSV; set `source.format: parquet`")
            lines = lines_of(stream, options)
            reader = csv.reader(lines, delimiter=separator, quotechar=options.quote)
            header = next((row for row in reader if row), None)
    except UnicodeError:
        raise diagnosis.wrong_encoding(file, options, separator) from None
    except (*_DAMAGE, csv.Error) as error:
        raise SourceError(f"{file.name}: cannot be read as CSV: {error}") from error
    except LookupError:
        raise SourceError(f"{file.name}: Python knows no encoding {options.encoding!r}") from None
    if not header:
        where = f" below line {options.skip_lines} (source.csv.skip_lines)"
        raise SourceError(
            f"{file.name}: is empty{where if options.skip_lines else ''}; a CSV starts with a row "
            "of column names"
        )
    if len(header) == 1:
        diagnosis.glued_header(file.name, header[0], separator)
    return header


def header_below(file: SourceFile, options: CsvOptions, wanted: Iterable[str]) -> int | None:
    """Lines above the first that has all these columns; None where no such line is near the top."""
    columns, separator = set(wanted), separator_of(file, options)
    for number, line in enumerate(top_lines(file, options, _TOP)):
        if columns <= set(_fields(line, separator, options)):
            return number
    return None


def top_names(file: SourceFile, options: CsvOptions) -> set[str] | None:
    """What stands in the header's line, whatever separates it; None where it cannot be read."""
    try:
        with file.open() as stream:
            lines = lines_of(stream, options)
            line = next((line for line in lines if line.strip()), "")
    except (UnicodeError, LookupError, EOFError, zlib.error, lzma.LZMAError):
        return None
    except OSError as error:
        raise SourceError(f"{file.name}: cannot be read as CSV: {error}") from error
    separators = {separator_of(file, options), *diagnosis.SEPARATORS}
    return {name.strip() for sign in separators for name in _fields(line, sign, options)}


def _fields(line: str, separator: str, options: CsvOptions) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, quotechar=options.quote), [])
    except csv.Error:  # a field beyond the reader's limit: no header
        return []


def read_chunks(file: SourceFile, options: CsvOptions, columns: Sequence[str]) -> Iterator[Chunk]:
    """Streams `columns` as text; null where a field is one of the null values.

    Rows with a wrong number of fields come as `Chunk.unreadable`, in their place.
    """
    pending: list[Unreadable] = []
    with file.open() as stream:
        read = skipped = 0
        pass_mark(stream, options.encoding)
        counted = _QuoteCounter(stream, options.quote.encode(), _odd_above(file, options))
        for batch in _batches(counted, file, options, columns, pending):
            rows, passed = _number(read, skipped, batch.num_rows, pending)
            before, pending[:] = pending[:passed], pending[passed:]
            read, skipped = read + batch.num_rows, skipped + passed
            yield Chunk(file, batch, rows, tuple(before))
        if counted.odd:
            diagnosis.open_quote(file, options, separator_of(file, options))
        if pending:
            empty = pa.RecordBatch.from_pylist([], pa.schema([(c, pa.string()) for c in columns]))
            yield Chunk(file, empty, np.empty(0, dtype=np.int64), tuple(pending))


def _odd_above(file: SourceFile, options: CsvOptions) -> bool:
    """Whether the lines above the header hold a quote without its other one."""
    if not options.skip_lines:
        return False
    above = top_lines(file, options, options.skip_lines)
    return sum(line.count(options.quote) for line in above) % 2 == 1


def _number(read: int, skipped: int, count: int, pending: Sequence[Unreadable]) -> tuple[Any, int]:
    """Record numbers of the next `count` good rows, and how many bad ones precede the last.

    Good row g (from 0) stands behind b bad ones, where the j-th bad record, at row r, precedes
    g when r - 1 - j <= g.
    """
    good = np.arange(read, read + count, dtype=np.int64)
    shifts = np.array([bad.row - 1 for bad in pending], dtype=np.int64)
    shifts -= skipped + np.arange(len(pending))
    behind = np.searchsorted(shifts, good, side="right")
    return good + 1 + skipped + behind, int(behind[-1]) if count else 0


def _batches(
    stream: Any,
    file: SourceFile,
    options: CsvOptions,
    columns: Sequence[str],
    unreadable: list[Unreadable],
) -> Iterator[pa.RecordBatch]:
    separator = separator_of(file, options)

    def skip(row: Any) -> str:
        # pyarrow counts the header, and every line above it, as rows from 1.
        number = row.number - 1 - options.skip_lines
        unreadable.append(Unreadable(number, row.text, row.expected_columns, row.actual_columns))
        return "skip"

    try:
        yield from pa_csv.open_csv(
            stream,
            # Row numbers are told by the serial reader only.
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK,
                encoding=options.encoding,
                skip_rows=options.skip_lines,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator,
                quote_char=options.quote,
                newlines_in_values=True,
                invalid_row_handler=skip,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=list(options.null_values),
                strings_can_be_null=True,
            ),
        )
    except UnicodeError:
        raise diagnosis.wrong_encoding(file, options, separator) from None
    except (pa.ArrowException, *_DAMAGE) as error:
        if "Empty CSV file" in str(error):  # a header without even an end of line
            return
        if "UTF8" in str(error):
            raise diagnosis.wrong_encoding(file, options, separator) from None
        hint = "; is a quote left open?" if "straddling" in str(error) else ""
        raise SourceError(f"{file.name}: cannot be read as CSV: {error}{hint}") from error


class _QuoteCounter(io.RawIOBase):
    """A stream that tells at its end whether a quote may be left open.

    The parser would take all that follows such a quote for one value, and say nothing.
    odd_above: whether an odd number of quotes stands where the parser does not look.
    """

    def __init__(self, stream: Any, quote: bytes, odd_above: bool) -> None:
        self._stream = stream
        self._quote = quote
        self.odd = odd_above

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._stream.read(size)
        self.odd ^= bool(block.count(self._quote) % 2)
        return block

"""What is wrong with a file, in words that say where and what to do."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterable, Sequence

from fraud_mlops.claims.csv_lines import lines_of
from fraud_mlops.claims.files import SourceFile
from fraud_mlops.errors import SourceError
from fraud_mlops.sources import CsvOptions
from fraud_mlops.words import closest

SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'", ":": "':'"}
_EXCEL = re.compile(r"sep=(.)", re.IGNORECASE)
_STRANGE = re.compile(r"[\udc80-\udcff]")


def missing_columns(
    where: str,
    wanted: Iterable[str],
    present: Sequence[str],
    *,
    csv_file: bool = True,
    header_at: int | None = None,
) -> SourceError:
    """header_at: lines above one that has all these columns, where there is such a line."""
    if header_at:
        return SourceError(
            f"{where}: its first line is not its header, which is found at line {header_at + 1}. "
            f"Set `source.csv.skip_lines: {header_at}`."
        )
    hints = []
    for name in wanted:
        near = closest(name, present)
        hints.append(f"no column {name!r}" + (f" (did you mean {near!r}?)" if near else ""))
    return SourceError(
        f"{where}: {'; '.join(hints)}. The columns are: {', '.join(map(repr, present))}. "
        + (
            "Correct the contract, or `source.csv.separator` if these look glued together."
            if csv_file
            else "Correct the contract, or write them into the files."
        )
    )


def duplicate_columns(where: str, names: Sequence[str], ignored: Iterable[str]) -> None:
    """Raises SourceError when two columns that would be read bear one name."""
    seen: dict[str, list[int]] = {}
    for position, name in enumerate(names, 1):
        seen.setdefault(name, []).append(position)
    skip = {"", *ignored}
    twice = {name: at for name, at in seen.items() if len(at) > 1 and name not in skip}
    if twice:
        told = "; ".join(f"{n!r} is the name of columns {_listed(at)}" for n, at in twice.items())
        raise SourceError(f"{where}, row 1 (header): {told}. Rename them, or `ignore` the name.")


def _listed(positions: Sequence[int]) -> str:
    return ", ".join(map(str, positions[:-1])) + f" and {positions[-1]}"


def glued_header(where: str, header: str, separator: str) -> None:
    """Raises SourceError when a header that came out as one column looks like several."""
    if told := _EXCEL.fullmatch(header):
        raise SourceError(
            f"{where}: begins with the line {told[0]!r}, by which spreadsheets are told the "
            f"separator. Set `source.csv`: {{separator: {SEPARATORS.get(told[1], told[1])}, "
            "skip_lines: 1}."
        )
    counts = {sign: header.count(sign) for sign in SEPARATORS if sign != separator}
    best = max(counts, key=lambda sign: counts[sign])
    if counts[best]:
        raise SourceError(
            f"{where}: only one column was found with separator {separator!r}: {header[:120]!r}. "
            f"It looks separated by {SEPARATORS[best]}: set `source.csv.separator` to that."
        )


def wrong_encoding(file: SourceFile, options: CsvOptions, separator: str) -> SourceError:
    """Where the encoding fails first."""
    encoding, quote = options.encoding, options.quote
    with file.open() as stream:
        head = stream.read(4)
        stream.seek(0)
        mend = f"Set `source.csv.encoding`; {_likely(head)} is likely."
        # What cannot be read comes through as a lone surrogate.
        lines = lines_of(stream, options, "surrogateescape")
        header: list[str] = []
        try:
            records = (r for r in csv.reader(lines, delimiter=separator, quotechar=quote) if r)
            for row, record in enumerate(records):
                header = header or record
                for at, field in enumerate(record):
                    if strange := _STRANGE.search(field):
                        byte = ord(strange[0]) - 0xDC00
                        name = f" ({header[at]!r})" if row and at < len(header) else ""
                        return SourceError(
                            f"{file.name}, row {row} (0 is the header), column {at + 1}{name}: "
                            f"byte 0x{byte:02x} is not {encoding}. {mend}"
                        )
        except (UnicodeError, csv.Error):
            pass  # not every encoding has a way round what it cannot read
    return SourceError(f"{file.name}: is not {encoding} throughout. {mend}")


def open_quote(file: SourceFile, options: CsvOptions, separator: str) -> None:
    """Raises SourceError when the file ends within quotes. Stray quotes in a value are none."""
    end = ["\0end of file"]
    with file.open() as stream:
        lines = lines_of(stream, options, "replace")
        records = csv.reader(
            itertools.chain(lines, ["\n"], end), delimiter=separator, quotechar=options.quote
        )
        row, last = -1, end
        try:
            for record in filter(None, records):
                row, last = row + 1, record
        except csv.Error as error:
            raise SourceError(f"{file.name}, after row {row}: {error}; is a quote open?") from error
    if last != end:
        raise SourceError(
            f"{file.name}, row {row} (0 is the header): a quote {options.quote} is left open, so "
            "that all that follows is one value. Close it, or set `source.csv.quote` to a sign "
            "that the file does not use."
        )


def _likely(head: bytes) -> str:
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "cp1252 (Western Europe)"


def unlike_schemas(first: str, other: str, differences: Sequence[str]) -> SourceError:
    return SourceError(
        f"{other}: its columns differ from those of {first}: {'; '.join(differences)}. "
        "Rewrite one of the files, `ignore` the column, list all features in the contract "
        "(`numeric`, `categorical`; other columns may then differ), or give them a contract each."
    )

"""What is wrong with a file, in words that say where and what to do."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from fraud_mlops.claims.files import SourceFile
from fraud_mlops.errors import SourceError

_SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'", ":": "':'"}
_BLOCK = 1 << 20


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely stands for, whatever the case."""
    by_fold = {other.strip().casefold(): other for other in known}
    hits = get_close_matches(name.strip().casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[hits[0]] if hits else None


def missing_columns(where: str, wanted: Iterable[str], present: Sequence[str]) -> SourceError:
    hints = []
    for name in wanted:
        near = closest(name, present)
        hints.append(f"no column {name!r}" + (f" (did you mean {near!r}?)" if near else ""))
    return SourceError(
        f"{where}: {'; '.join(hints)}. The columns are: {', '.join(map(repr, present))}. "
        "Correct the contract, or `source.csv.separator` if these look glued together."
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
    counts = {sign: header.count(sign) for sign in _SEPARATORS if sign != separator}
    best = max(counts, key=lambda sign: counts[sign])
    if counts[best]:
        raise SourceError(
            f"{where}: only one column was found with separator {separator!r}: {header[:120]!r}. "
            f"It looks separated by {_SEPARATORS[best]}: set `source.csv.separator` to that."
        )


def wrong_encoding(file: SourceFile, encoding: str, separator: str) -> SourceError:
    """Finds the first bytes that `encoding` cannot read. Quoted line ends count as rows here."""
    decoder = codecs.getincrementaldecoder(encoding)()
    rows, line = 0, ""
    with file.open() as stream:
        head = stream.read(4)
        stream.seek(0)
        while True:
            block = stream.read(_BLOCK)
            state = decoder.getstate()
            try:
                words = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                decoder.setstate(state)
                before = error.object[: error.start].decode(encoding, errors="replace")
                rows += before.count("\n")
                line = (before if "\n" in before else line + before).rpartition("\n")[2]
                byte = error.object[error.start]
                return SourceError(
                    f"{file.name}, row {rows} (0 is the header), column "
                    f"{line.count(separator) + 1}: byte 0x{byte:02x} is not {encoding}. "
                    f"Set `source.csv.encoding`; {_likely(head)} is likely."
                )
            rows += words.count("\n")
            line = words.rpartition("\n")[2] if "\n" in words else line + words
            if not block:
                return SourceError(f"{file.name}: is not {encoding} throughout")


def _likely(head: bytes) -> str:
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "cp1252 (Western Europe)"


def unlike_schemas(first: str, other: str, differences: Sequence[str]) -> SourceError:
    return SourceError(
        f"{other}: its columns differ from those of {first}: {'; '.join(differences)}. "
        "Rewrite one of the files, `ignore` the column, or give them a contract each."
    )

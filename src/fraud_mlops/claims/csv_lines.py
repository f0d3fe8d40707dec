"""The lines of a CSV, decoded, as Python's reader and the diagnosis look at them."""

from __future__ import annotations

import codecs
import io
import itertools
from typing import Any

from fraud_mlops.claims.files import SourceFile
from fraud_mlops.sources import CsvOptions

_MARKS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


def lines_of(stream: Any, options: CsvOptions, errors: str = "strict") -> io.TextIOWrapper:
    """Decoded lines from the header on, ends of line and all."""
    pass_mark(stream, options.encoding)
    lines = io.TextIOWrapper(stream, _with_bom(options.encoding), errors=errors, newline="")
    for _ in range(options.skip_lines):
        lines.readline()
    return lines


def pass_mark(stream: Any, encoding: str) -> None:
    """Past the byte-order mark that `utf-16-le` and `utf-16-be`, unlike `utf-16`, take for text."""
    mark = _MARKS.get(codecs.lookup(encoding).name)
    if mark and stream.read(len(mark)) != mark:
        stream.seek(0)


def _with_bom(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def top_lines(file: SourceFile, options: CsvOptions, count: int) -> list[str]:
    """The first of a file, those above the header too, whatever bytes they hold."""
    every = options.model_copy(update={"skip_lines": 0})
    with file.open() as stream:
        lines = lines_of(stream, every, "replace")  # named: let go, it would close the stream
        return list(itertools.islice(lines, count))

"""What a run installs, as pip reads requirements files, in the lines that Databricks takes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dagster_metaflow.backends.databricks_git import Source, text_at
from dagster_metaflow.backends.protocol import UsageError

_COMMENT = re.compile(r"(^|\s+)#.*$")
_NESTED = re.compile(r"(-r|--requirement\b)\s*=?\s*(?P<file>.+)")
_OF_A_FOLDER = re.compile(r"(-c|--constraint\b|-e|--editable\b)|\.{0,2}/|\.$|file:")
_OPTIONS = re.compile(r"\s+--?[a-zA-Z].*")  # of one requirement, such as its hashes


def requirements(root: Path, source: Source, files: Sequence[str]) -> list[str]:
    """Lines of the files and of those that they name, as they are at the commit that runs, where
    that is known. Raises UsageError for what Databricks would not find."""
    seen = list[str]()

    def lines(file: str) -> Iterator[str]:
        if file in seen:
            return
        seen.append(file)
        for line in logical_lines(text_at(root, source, file)):
            if nested := _NESTED.fullmatch(line):
                yield from lines(_beside(file, nested["file"], line))
            elif _OF_A_FOLDER.match(line):
                raise UsageError(
                    f"{file}: {line}: a file or folder of this machine, which a run's environment "
                    "has not. Name packages, or the address of one"
                )
            else:
                yield line

    return list(dict.fromkeys(line for file in files for line in lines(file)))


def logical_lines(text: str) -> Iterator[str]:
    """Continued lines in one, without comments and empty ones."""
    begun = ""
    for line in text.splitlines():
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            begun += line.strip("\\")
            continue
        # A comment ends a line that goes on before it.
        yield from _bare(begun + (f" {line}" if is_comment else line))
        begun = ""
    yield from _bare(begun)


def as_package(line: str) -> str | None:
    """For a cluster's libraries, which know no options of pip's; None where it is but one."""
    return None if line.startswith("-") else _OPTIONS.sub("", line)


def _bare(line: str) -> Iterator[str]:
    if found := _COMMENT.sub("", line).strip():
        yield found


def _beside(file: str, named: str, line: str) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(file), named.strip("\"'")))
    if "://" in named or path.startswith(("../", "/")):
        raise UsageError(f"{file}: {line}: not a file of the repository")
    return path

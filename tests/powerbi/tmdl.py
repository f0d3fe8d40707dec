"""Enough of TMDL to know what a model declares: objects by indentation, `key: value` within.

https://learn.microsoft.com/en-us/analysis-services/tmdl/tmdl-overview
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_OBJECT = re.compile(
    r"(?P<kind>ref table|table|measure|column|partition|relationship|expression|annotation|model"
    r"|database)(?: (?P<name>'(?:[^']|'')+'|[^\s=]+))?(?: = ?(?P<value>.*))?"
)
_PROPERTY = re.compile(r"(?P<key>\w+)(?:: (?P<value>.*)| =(?: (?P<text>.*))?)?")
_REFERENCE = re.compile(r"(?:'(?P<quoted>(?:[^']|'')+)'|(?P<bare>\w+))?\[(?P<name>[^\]]+)\]")


@dataclass
class Object:
    """kind and name as declared; value: what stands after `=`, over several lines if it does."""

    kind: str
    name: str
    value: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    children: list[Object] = field(default_factory=list)

    def all(self, kind: str) -> dict[str, Object]:
        return {child.name: child for child in self.children if child.kind == kind}


def read(path: Path) -> list[Object]:
    """Objects of a file. AssertionError for a line that is none of what is known."""
    top: list[Object] = []
    open_: list[tuple[int, Object]] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    numbered = iter(enumerate(lines))
    for number, line in numbered:
        text = line.strip()
        if not text or text.startswith("///"):
            continue
        depth = len(line) - len(line.lstrip("\t"))
        assert not line.lstrip("\t").startswith(" "), f"{path}:{number + 1}: TMDL indents by tabs"
        while open_ and open_[-1][0] >= depth:
            open_.pop()
        match = _OBJECT.fullmatch(text)
        if match and (match["name"] or match["kind"] in {"database", "model"}):
            made = Object(match["kind"], unquoted(match["name"] or ""), match["value"] or "")
            (open_[-1][1].children if open_ else top).append(made)
            open_.append((depth, made))
            continue
        assert open_, f"{path}:{number + 1}: {text} stands in no object"
        found = _PROPERTY.fullmatch(text)
        assert found, f"{path}:{number + 1}: {text} is nothing that TMDL knows"
        value = found["value"] or found["text"] or ""
        if text.endswith("="):
            value = "\n".join(_deeper(lines, number, depth))
            for _ in range(value.count("\n") + 1):
                next(numbered)
        open_[-1][1].properties[found["key"]] = value
    return top


def _deeper(lines: list[str], number: int, depth: int) -> Iterator[str]:
    for line in lines[number + 1 :]:
        if not line.startswith("\t" * (depth + 1)):
            return
        yield line.strip()


def unquoted(name: str) -> str:
    return name[1:-1].replace("''", "'") if name.startswith("'") else name


def references(expression: str) -> Iterator[tuple[str | None, str]]:
    """(table, column) and (None, measure) of a DAX expression."""
    for match in _REFERENCE.finditer(expression):
        table = match["quoted"] or match["bare"]
        yield (table.replace("''", "'") if table else None, match["name"])


def column_of(path: str) -> tuple[str, str]:
    """`'Daily KPIs'.'Period start'` as its two names."""
    match = re.fullmatch(r"('(?:[^']|'')+'|\w+)\.('(?:[^']|'')+'|\w+)", path)
    assert match, path
    return unquoted(match[1]), unquoted(match[2])

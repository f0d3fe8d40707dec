"""Enough of TMDL to know what a model declares: objects by indentation, `key: value` within.

https://learn.microsoft.com/en-us/analysis-services/tmdl/tmdl-overview
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FLAG = {"", "true", "false"}
_TAGGED: dict[str, set[str] | None] = {"lineageTag": None}
KNOWN: dict[str, dict[str, set[str] | None]] = {
    "database": {"compatibilityLevel": {"1550", "1567", "1600", "1601", "1702"}},
    "model": {
        "culture": None,
        "sourceQueryCulture": None,
        "defaultPowerBIDataSourceVersion": {"powerBI_V3"},
        "discourageImplicitMeasures": _FLAG,
        "dataAccessOptions": {""},
        "legacyRedirects": _FLAG,
        "returnErrorValuesAsNull": _FLAG,
    },
    "table": _TAGGED | {"dataCategory": {"Time"}, "isHidden": _FLAG},
    "column": _TAGGED
    | {
        "dataType": {"string", "int64", "double", "dateTime", "decimal", "boolean", "binary"},
        "summarizeBy": {"none", "sum", "min", "max", "count", "average", "distinctCount"},
        "sourceColumn": None,
        "formatString": None,
        "sortByColumn": None,
        "isHidden": _FLAG,
        "isKey": _FLAG,
        "isNameInferred": _FLAG,
    },
    "measure": _TAGGED | {"formatString": None, "displayFolder": None, "isHidden": _FLAG},
    "partition": {"mode": {"import", "directQuery", "dual"}, "source": None},
    "expression": _TAGGED,
    "relationship": {
        "fromColumn": None,
        "toColumn": None,
        "isActive": _FLAG,
        "crossFilteringBehavior": {"oneDirection", "bothDirections", "automatic"},
    },
}
"""What each kind of object may say, and how (None: anything): what we use of the Tabular Object
Model, by the names and values of its classes, Microsoft.AnalysisServices.Tabular 19.

https://learn.microsoft.com/en-us/dotnet/api/microsoft.analysisservices.tabular
"""

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


def mistakes(objects: list[Object]) -> Iterator[str]:
    """Properties that an object of its kind does not have, and values that one cannot have."""
    for made in objects:
        known = KNOWN.get(made.kind, {})
        for key, value in made.properties.items():
            allowed = known.get(key)
            if key not in known:
                yield f"{made.kind} {made.name}: {key} is no property of it"
            elif allowed is not None and value not in allowed:
                yield f"{made.kind} {made.name}: {key} cannot be {value}"
        yield from mistakes(made.children)


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

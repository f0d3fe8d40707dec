"""Enough of DAX to know what a measure amounts to: the functions that the model's measures use.

Blank is None. A context has a filter a column, and in an iterator a row; how CALCULATE makes a row
into filters is not here, and whoever needs it is told. https://dax.guide
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

Row = dict[str, Any]
Column = tuple[str, str]
Rows = tuple[str, list[Row]]
"""Of a table, by its name."""

_TOKEN = re.compile(
    r"""\s*(?: '(?P<quoted>(?:[^']|'')+)'(?:\[(?P<of_quoted>[^\]]+)\])?
      | (?P<bare>[A-Za-z]\w*)\[(?P<of_bare>[^\]]+)\]
      | \[(?P<measure>[^\]]+)\] | "(?P<text>[^"]*)" | (?P<number>\d+(?:\.\d+)?)
      | (?P<word>[A-Za-z]\w*) | (?P<sign><=|>=|<>|&&|\|\||[-+*/=<>(),]) )""",
    re.VERBOSE,
)
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("=", "<>", "<=", ">=", "<", ">"), ("+", "-"), ("*", "/"),
)  # fmt: skip
_COMPARED = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    kind: str
    value: Any = None
    parts: tuple[Node, ...] = ()

    def columns(self) -> Iterator[Column]:
        if self.kind == "column":
            yield self.value
        for part in self.parts:
            yield from part.columns()


class _Parser:
    def __init__(self, text: str) -> None:
        self.found: list[tuple[str, Any]] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            assert match, f"{text[at:]!r} is nothing that is known here of DAX"
            at = match.end()
            self.found.append(_token(match))
        self.found.append(("end", ""))

    def next(self, *expected: str) -> tuple[str, Any]:
        token = self.found.pop(0)
        assert not expected or token[1] in expected, f"{token[1]!r} where {expected} should be"
        return token

    def whole(self) -> Node:
        made = self.expression()
        self.next("")
        return made

    def expression(self) -> Node:
        if self.found[0] != ("word", "VAR"):
            return self.level(0)
        self.next()
        name = self.next()[1]
        self.next("=")
        value = self.expression()
        self.next("RETURN")
        return Node("var", name, (value, self.expression()))

    def level(self, number: int) -> Node:
        if number == len(_LEVELS):
            return self.one()
        if number == 2 and self.found[0] == ("word", "NOT"):
            self.next()
            return Node("call", "NOT", (self.level(number),))
        made = self.level(number + 1)
        while self.found[0][0] == "sign" and self.found[0][1] in _LEVELS[number]:
            sign = self.next()[1]
            made = Node("sign", sign, (made, self.level(number + 1)))
        return made

    def one(self) -> Node:
        kind, value = self.next()
        if (kind, value) == ("sign", "("):
            made = self.expression()
            self.next(")")
            return made
        if kind == "word" and self.found[0] == ("sign", "("):
            return Node("call", value, tuple(self.arguments()))
        assert kind not in ("sign", "end"), f"{value!r} begins no expression"
        return Node(kind, value)

    def arguments(self) -> Iterator[Node]:
        self.next("(")
        if self.found[0][1] != ")":
            yield self.expression()
            while self.found[0][1] == ",":
                self.next()
                yield self.expression()
        self.next(")")


def _token(match: re.Match[str]) -> tuple[str, Any]:
    table, column = match["quoted"] or match["bare"], match["of_quoted"] or match["of_bare"]
    if table:
        table = table.replace("''", "'")
        return ("column", (table, column)) if column else ("table", table)
    if match["number"]:
        return "number", float(match["number"])
    kind = next(name for name in ("measure", "text", "word", "sign") if match[name] is not None)
    return kind, match[kind]


@dataclass(frozen=True)
class Model:
    """tables: rows by name; measures: their text."""

    tables: Mapping[str, Sequence[Row]]
    measures: Mapping[str, str]

    def measure(self, name: str, **of: Mapping[str, Any]) -> Any:
        """of: what slicers have chosen, a table's columns with a value each."""
        chosen = {
            (table, column): (partial(_is, column, value),)
            for table, columns in of.items()
            for column, value in columns.items()
        }
        return _Context(self, chosen).value(_Parser(self.measures[name]).whole())


Filter = Callable[[Row], bool]


@dataclass(frozen=True)
class _Context:
    model: Model
    filters: Mapping[Column, tuple[Filter, ...]] = field(default_factory=dict)
    row: Mapping[Column, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, table: str) -> list[Row]:
        own = [f for (of, _), those in self.filters.items() if of == table for f in those]
        return [row for row in self.model.tables[table] if all(keeps(row) for keeps in own)]

    def at(self, table: str, row: Row) -> _Context:
        return replace(self, row={**self.row, **{(table, name): v for name, v in row.items()}})

    def value(self, node: Node) -> Any:
        return getattr(self, f"_{node.kind}")(node)

    def _number(self, node: Node) -> Any:
        return node.value

    _text = _number

    def _table(self, node: Node) -> Rows:
        return node.value, self.rows(node.value)

    def _column(self, node: Node) -> Any:
        return self.row[node.value]

    def _word(self, node: Node) -> Any:
        return self.names[node.value]

    def _measure(self, node: Node) -> Any:
        assert not self.row, f"[{node.value}] in a row, which would have to become filters"
        return self.value(_Parser(self.model.measures[node.value]).whole())

    def _var(self, node: Node) -> Any:
        value, after = node.parts
        return replace(self, names={**self.names, node.value: self.value(value)}).value(after)

    def _sign(self, node: Node) -> Any:
        left, right = map(self.value, node.parts)
        if node.value in ("&&", "||"):
            return (left and right) if node.value == "&&" else (left or right)
        if node.value in _COMPARED:
            return _COMPARED[node.value](*_alike(left, right))
        if node.value in ("*", "/"):
            made = operator.mul if node.value == "*" else operator.truediv
            return None if left is None or right is None else made(left, right)
        if left is None and right is None:
            return None
        return (left or 0) + (right or 0) * (1 if node.value == "+" else -1)

    def _call(self, node: Node) -> Any:
        return getattr(self, f"dax_{node.value.lower()}")(*node.parts)

    def _values(self, column: Node) -> list[Any]:
        table, name = column.value
        return [row[name] for row in self.rows(table)]

    def _known(self, column: Node) -> list[Any]:
        return [value for value in self._values(column) if value is not None]

    def dax_sum(self, column: Node) -> Any:
        return sum(found) if (found := self._known(column)) else None

    def dax_average(self, column: Node) -> Any:
        return sum(found) / len(found) if (found := self._known(column)) else None

    def dax_max(self, column: Node) -> Any:
        return max(self._known(column), default=None)

    def dax_distinctcount(self, column: Node) -> Any:
        return len({*self._values(column)}) or None

    def dax_countblank(self, column: Node) -> Any:
        return sum(value is None for value in self._values(column)) or None

    def dax_sumx(self, table: Node, each: Node) -> Any:
        name, rows = self.value(table)
        found = [self.at(name, row).value(each) for row in rows]
        known = [value for value in found if value is not None]
        return sum(known) if known else None

    def dax_countrows(self, table: Node) -> Any:
        return len(self.value(table)[1]) or None

    def dax_filter(self, table: Node, condition: Node) -> Rows:
        name, rows = self.value(table)
        return name, [row for row in rows if self.at(name, row).value(condition)]

    def dax_all(self, column: Node) -> Rows:
        table, name = column.value
        values = dict.fromkeys(row[name] for row in self.model.tables[table])
        return table, [{name: value} for value in values]

    def dax_isempty(self, table: Node) -> bool:
        return not self.value(table)[1]

    def dax_isblank(self, value: Node) -> bool:
        return self.value(value) is None

    def dax_not(self, value: Node) -> bool:
        return not self.value(value)

    def dax_false(self) -> bool:
        return False

    def dax_if(self, condition: Node, then: Node, other: Node | None = None) -> Any:
        if self.value(condition):
            return self.value(then)
        return None if other is None else self.value(other)

    def dax_divide(self, upper: Node, lower: Node) -> Any:
        number, by = self.value(upper), self.value(lower)
        return None if number is None or not by else number / by

    def dax_calculate(self, value: Node, *conditions: Node) -> Any:
        assert not self.row, "CALCULATE in a row, which would have to become filters"
        filters = dict(self.filters)
        for condition in conditions:
            keeps = condition.value == "KEEPFILTERS"
            [inner] = condition.parts if keeps else [condition]
            [(table, column)] = {*inner.columns()}

            def holds(row: Row, inner: Node = inner, table: str = table) -> bool:
                return bool(self.at(table, row).value(inner))

            earlier = filters.get((table, column), ()) if keeps else ()
            filters[table, column] = (*earlier, holds)
        return replace(self, filters=filters).value(value)


def _is(column: str, value: Any, row: Row) -> bool:
    return bool(row[column] == value)


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Blank is compared as what stands for nothing on the other side."""
    nothing = "" if isinstance(left if right is None else right, str) else 0
    return (nothing if left is None else left), (nothing if right is None else right)

"""Metadata of reports in Dagster's types, so that its pages show tables, plots and curves.

Some names have a meaning: `rows` and `schema` become Dagster's own row count and column schema,
`uri` its URI, `sample` a table, `plots` (name to address of a picture) pictures in Markdown, and
`cards` (card id to pathspec of the task) one entry a card.
"""

from __future__ import annotations

import base64
import math
import mimetypes
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dagster import (
    AssetKey,
    MetadataValue,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)

from dagster_metaflow.stores import opened

MOST_PLOT_BYTES = 300_000
"""Of one picture: it is stored in Dagster's database with the event."""

CARDS = "cards"

_Entries = dict[str, MetadataValue]


def typed_metadata(entries: Mapping[str, Mapping[str, Any]]) -> _Entries:
    """entries: name to `{"raw_value", "type"}`, as in Dagster Pipes' messages.

    A type that this version does not know, and a value that is not of its type, is shown as JSON
    or text: a report is never lost for it.
    """
    found: _Entries = {}
    for name, entry in entries.items():
        found |= _entry(name, entry["raw_value"], entry.get("type", "__infer__"))
    return found


def card_entry(card: str) -> str:
    """Name of the metadata entry of one card."""
    return f"card: {card}"


def _entry(name: str, value: Any, kind: str) -> _Entries:
    if value is None:
        return {name: MetadataValue.null()}
    try:
        if name in _NAMED:
            return _NAMED[name](value)
        if kind in _TYPED:
            return {name: _TYPED[kind](value)}
    except Exception:  # of any kind: a value that is not what its name or type says
        return {name: _inferred(value)}
    return {name: _inferred(value)}


def _inferred(value: Any) -> MetadataValue:
    if isinstance(value, bool):
        return MetadataValue.bool(value)
    if isinstance(value, int):
        return MetadataValue.int(value)
    if isinstance(value, float):
        return MetadataValue.float(value) if math.isfinite(value) else MetadataValue.null()
    if isinstance(value, Mapping | list):
        return MetadataValue.json(dict(value) if isinstance(value, Mapping) else value)
    return MetadataValue.text(str(value))


_TYPED: Mapping[str, Callable[[Any], MetadataValue]] = {
    "text": MetadataValue.text,
    "url": MetadataValue.url,
    "path": MetadataValue.path,
    "notebook": MetadataValue.notebook,
    "md": MetadataValue.md,
    "json": MetadataValue.json,
    "int": MetadataValue.int,
    "float": lambda value: MetadataValue.float(float(value)),
    "bool": MetadataValue.bool,
    "timestamp": MetadataValue.timestamp,
    "dagster_run": MetadataValue.dagster_run,
    "asset": lambda value: MetadataValue.asset(AssetKey.from_user_string(value)),
}


def _rows(value: Any) -> _Entries:
    if isinstance(value, bool):
        raise TypeError("a truth value is no count")
    return {"dagster/row_count": MetadataValue.int(int(value))}


def _uri(value: Any) -> _Entries:
    return {"dagster/uri": MetadataValue.text(str(value))}


def _schema(value: Any) -> _Entries:
    columns = [TableColumn(name=str(name), type=str(kind)) for name, kind in value.items()]
    return {"dagster/column_schema": MetadataValue.table_schema(TableSchema(columns=columns))}


def _sample(value: Any) -> _Entries:
    """Columns of all rows, in the order met: rows need not have the same ones."""
    if not value:
        return {}
    rows = [{str(k): _cell(v) for k, v in row.items()} for row in value]
    names = list(dict.fromkeys(name for row in rows for name in row))
    records = [TableRecord({name: row.get(name) for name in names}) for row in rows]
    columns = [TableColumn(name, _column_type(row.get(name) for row in rows)) for name in names]
    return {"sample": MetadataValue.table(records=records, schema=TableSchema(columns))}


def _column_type(values: Iterable[Any]) -> str:
    kinds = {TableMetadataValue.infer_column_type(value) for value in values if value is not None}
    if kinds == {"int", "float"}:
        return "float"
    return kinds.pop() if len(kinds) == 1 else "string"


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cards(value: Any) -> _Entries:
    """Where a card is; whoever exports it puts its file's address here."""
    return {card_entry(card): MetadataValue.text(str(path)) for card, path in value.items()}


def _plots(value: Any) -> _Entries:
    return {f"plot: {name}": _picture(str(name), str(uri)) for name, uri in value.items()}


def _picture(name: str, uri: str) -> MetadataValue:
    """The picture itself, since a browser cannot open a lakehouse; its address, when too large."""
    try:
        with opened(uri) as (fs, path):
            data = fs.cat_file(path) if fs.info(path)["size"] <= MOST_PLOT_BYTES else None
    except OSError:  # the report goes before a picture
        data = None
    if data is None:
        return MetadataValue.path(uri)
    kind = mimetypes.guess_type(path)[0] or "image/png"
    title = name.translate({ord(sign): " " for sign in "[]\n"})
    return MetadataValue.md(f"![{title}](data:{kind};base64,{base64.b64encode(data).decode()})")


_NAMED: Mapping[str, Callable[[Any], _Entries]] = {
    "rows": _rows,
    "uri": _uri,
    "schema": _schema,
    "sample": _sample,
    "plots": _plots,
    CARDS: _cards,
}

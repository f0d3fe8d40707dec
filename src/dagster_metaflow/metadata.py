"""Metadata of reports in Dagster's types, so that its pages show tables, plots and curves.

Some names have a meaning: `rows` and `schema` become Dagster's own row count and column schema,
`uri` its URI, `sample` a table, `plots` (name to address of a PNG) pictures in Markdown.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

MOST_PLOT_BYTES = 300_000
"""Of one picture: it is stored in Dagster's database with the event."""

_COLUMN_SCHEMA = "dagster/column_schema"


def typed_metadata(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, MetadataValue]:
    """entries: name to `{"raw_value", "type"}`, as in Dagster Pipes' messages.

    A type that this version does not know is shown as JSON or text: a report is never lost for it.
    """
    found: dict[str, MetadataValue] = {}
    for name, entry in entries.items():
        value = entry["raw_value"]
        if name in _NAMED and value is not None:
            found |= _NAMED[name](value)
        else:
            found[name] = _typed(value, entry["type"])
    return found


def _typed(value: Any, kind: str) -> MetadataValue:
    make = _TYPED.get(kind)
    if value is None:
        return MetadataValue.null()
    if make is not None:
        return make(value)
    if isinstance(value, Mapping | list):
        return MetadataValue.json(dict(value) if isinstance(value, Mapping) else value)
    return MetadataValue.text(str(value))


_TYPED: Mapping[str, Callable[[Any], MetadataValue]] = {
    "text": MetadataValue.text,
    "url": MetadataValue.url,
    "path": MetadataValue.path,
    "md": MetadataValue.md,
    "json": MetadataValue.json,
    "int": MetadataValue.int,
    "float": MetadataValue.float,
    "bool": MetadataValue.bool,
    "timestamp": MetadataValue.timestamp,
}


def _rows(value: Any) -> dict[str, MetadataValue]:
    return {"dagster/row_count": MetadataValue.int(int(value))}


def _uri(value: Any) -> dict[str, MetadataValue]:
    return {"dagster/uri": MetadataValue.text(str(value))}


def _schema(value: Any) -> dict[str, MetadataValue]:
    columns = [TableColumn(name=str(name), type=str(kind)) for name, kind in value.items()]
    return {_COLUMN_SCHEMA: MetadataValue.table_schema(TableSchema(columns=columns))}


def _sample(value: Any) -> dict[str, MetadataValue]:
    if not value:
        return {}
    records = [TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in value]
    return {"sample": MetadataValue.table(records=records)}


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plots(value: Any) -> dict[str, MetadataValue]:
    return {f"plot: {name}": _picture(str(name), str(uri)) for name, uri in value.items()}


def _picture(name: str, uri: str) -> MetadataValue:
    """The picture itself, since a browser cannot open a lakehouse; its address, when too large."""
    import fsspec

    fs, path = fsspec.url_to_fs(uri)
    try:
        data = fs.cat_file(path)
    except OSError:
        return MetadataValue.path(uri)
    if len(data) > MOST_PLOT_BYTES:
        return MetadataValue.path(uri)
    return MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(data).decode()})")


_NAMED: Mapping[str, Callable[[Any], dict[str, MetadataValue]]] = {
    "rows": _rows,
    "uri": _uri,
    "schema": _schema,
    "sample": _sample,
    "plots": _plots,
}

"""Columns of the warehouse's table, and rows of the metrics zone in them."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple, cast, get_args

import pyarrow as pa

from fraud_mlops.errors import SettingsError, WarehouseError
from fraud_mlops.lakehouse.partitions import Listed, Partition
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.words import counted

Kind = Literal["text", "float", "integer", "date", "timestamp"]


class ContentError(WarehouseError):
    """What a partition holds cannot go into the warehouse; others may."""


class Column(NamedTuple):
    name: str
    kind: Kind
    required: bool = True


KEY = ("DATASET", "PARTITION_KEY", "METRIC", "SLICE", "WINDOW_NAME", "MODEL_VERSION")
VALUES = ("METRIC_VALUE", "INTERVAL_LOW", "INTERVAL_HIGH")
COLUMNS = (
    *(Column(name, "text") for name in KEY),
    *(Column(name, "float", required=False) for name in VALUES),
    Column("PERIOD", "text"),
    Column("PERIOD_START", "date"),
    Column("PERIOD_END", "date"),
    Column("DATA_VERSION", "text"),
    Column("SYNC_ID", "text"),
    Column("SYNCED_AT", "timestamp"),
)
SYNC_COLUMNS = (
    Column("DATASET", "text"),
    Column("PARTITION_KEY", "text"),
    Column("DATA_VERSION", "text"),
    Column("ROW_COUNT", "integer"),
    Column("CHECKSUM", "text"),
    Column("SYNC_ID", "text"),
    Column("SYNCED_AT", "timestamp"),
)
LOCK_COLUMNS = (
    Column("ID", "integer"),
    Column("SYNC_ID", "text", required=False),
)
_SOURCE = ("metric", "slice", "window", "model_version")
_NUMBERS = ("value", "low", "high")
_TYPES = {
    **dict.fromkeys(("dataset", "partition", *_SOURCE), pa.string()),
    **dict.fromkeys(_NUMBERS, pa.float64()),
}
_NULL, _NUMBER = b"\0", struct.Struct("<d")

Content = tuple[str | float | None, ...]
"""What a row says: key and values, in the order of KEY and VALUES."""


@dataclass(frozen=True)
class Rows:
    """A partition's rows as the warehouse has them. not_finite: values that went as NULL."""

    content: tuple[Content, ...]
    not_finite: int

    @property
    def checksum(self) -> str:
        return checksum(self.content)


def rows_of(partition: Partition, table: pa.Table) -> Rows:
    """The metrics zone's rows in the warehouse's columns.

    NaN and infinities become NULL: a dashboard's sum or mean must not turn into one. Raises
    ContentError for a partition of no period, without a column, with rows of another dataset or
    partition, without a key, or with one key twice.
    """
    period_of(partition)
    _require_columns(partition, table)
    _require_whose(partition, table)
    texts = [table[name].to_pylist() for name in _SOURCE]
    numbers = [table[name].to_pylist() for name in _NUMBERS]
    not_finite = sum(v is not None and not math.isfinite(v) for column in numbers for v in column)
    keys = [(partition.dataset, partition.value, *key) for key in zip(*texts, strict=True)]
    values = zip(*([_finite(v) for v in column] for column in numbers), strict=True)
    content = tuple((*key, *found) for key, found in zip(keys, values, strict=True))
    _require_keys(partition, keys)
    return Rows(content, not_finite)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _require_columns(partition: Partition, table: pa.Table) -> None:
    found = dict(zip(table.column_names, table.schema.types, strict=True))
    wrong = [f"{name} of type {kind}" for name, kind in _TYPES.items() if found.get(name) != kind]
    if wrong:
        raise ContentError(
            f"{partition.uri}: has no column {', '.join(wrong)}; measure the partition again"
        )


def _require_whose(partition: Partition, table: pa.Table) -> None:
    found = {*zip(table["dataset"].to_pylist(), table["partition"].to_pylist(), strict=True)}
    if found - {(partition.dataset, partition.value)}:
        odd = ", ".join(sorted(f"{d} {p}" for d, p in found))
        raise ContentError(f"{partition.uri}: holds rows of {odd}; measure the partition again")


def _require_keys(partition: Partition, keys: Sequence[tuple[str | None, ...]]) -> None:
    if any(part is None for key in keys for part in key):
        raise ContentError(
            f"{partition.uri}: a row has no {', '.join(_SOURCE)}; measure the partition again"
        )
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise ContentError(
            f"{partition.uri}: holds {counted(len(twice), 'key')} twice, such as "
            f"{', '.join(map(str, twice[0]))}; measure the partition again"
        )


def checksum(rows: Iterable[Sequence[str | float | None]]) -> str:
    """Hash of the rows' content in any order; a number by its 64 bits, as none is rounded."""
    total = 0
    for row in rows:
        packed = b"".join(map(_packed, row))
        total += int.from_bytes(hashlib.sha256(packed).digest(), "big")
    return f"{total % (1 << 256):064x}"[:32]


def _packed(value: str | float | None) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, str):
        data = value.encode()
        return b"s" + len(data).to_bytes(8, "little") + data
    return b"d" + _NUMBER.pack(float(value) + 0.0)  # -0.0 and 0.0 are one number


def period_of(partition: Partition | Listed) -> tuple[Period, date, date]:
    """Name, first day, and the first day after it. ContentError for a partition of no period."""
    if partition.key not in get_args(Period):
        raise ContentError(f"{partition.uri}: {partition.key} is no period of a metrics zone")
    name = cast("Period", partition.key)
    try:
        found = PartitionRange.of(partition.value, None, name)
    except SettingsError as error:
        raise ContentError(f"{partition.uri}: {error}") from None
    return name, found.start.date(), found.end.date()


def whole_rows(
    partition: Partition, rows: Rows, sync_id: str, now: datetime
) -> list[tuple[object, ...]]:
    """Rows as they are written, in the order of COLUMNS. now: UTC, written without a zone."""
    tail = (*period_of(partition), partition.data_version, sync_id, naive(now))
    return [(*content, *tail) for content in rows.content]


def naive(moment: datetime) -> datetime:
    """UTC without a zone, which is how the warehouse keeps times."""
    return moment.astimezone(UTC).replace(tzinfo=None)

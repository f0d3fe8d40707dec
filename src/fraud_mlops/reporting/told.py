"""The parts of what is told of an asset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from fraud_mlops.claims.schema import MASK
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Facts = dict[str, Any]
NEWEST = "newest_partition"
"""Fact of a finding: the newest partition that it judges, by which old findings are told apart."""
SAMPLE_ROWS = 5
SAMPLED_PARTITIONS = 50
"""Of more, only the latest show a sample: each costs a file that is opened."""


@dataclass(frozen=True)
class Finding:
    """What a check found. A WARN is for a person to look at; an ERROR breaks a promise."""

    name: str
    passed: bool
    severity: Literal["WARN", "ERROR"] = "ERROR"
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """One partition of an asset, or all of one that has none. facts: JSON, by name."""

    data_version: str
    facts: Facts
    partition: str | None = None


@dataclass(frozen=True)
class Told:
    """Everything about one asset that one step has published."""

    published: tuple[Published, ...]
    findings: tuple[Finding, ...]
    figures: Mapping[str, Figure] = field(default_factory=dict)


def published_partitions(
    lakehouse: Lakehouse,
    partitions: tuple[Partition, ...],
    schema: pa.Schema,
    facts: Mapping[str, Facts],
    *,
    masked: frozenset[str] = frozenset(),
    left_out: frozenset[str] = frozenset(),
) -> tuple[Published, ...]:
    """Where each partition is, what it holds, and its first rows.

    facts: more to say of a partition, by its value. masked: columns whose values the sample does
    not show; left_out: columns that it does not have.
    """
    columns = [name for name in schema.names if name not in left_out]
    sampled = {p.value for p in partitions[-SAMPLED_PARTITIONS:] if p.rows}
    return tuple(
        Published(
            data_version=p.data_version,
            partition=p.value,
            facts={
                "uri": p.uri,
                "rows": p.rows,
                "bytes": p.bytes,
                "schema": {f.name: str(f.type) for f in schema},
                "sample": _first_rows(lakehouse, p, columns, masked) if p.value in sampled else [],
                **facts.get(p.value, {}),
            },
        )
        for p in partitions
    )


def newest_with_rows(partitions: Iterable[Partition]) -> str | None:
    """Which one a finding speaks for: an empty one is no reason to say that all is well."""
    return max((p.value for p in partitions if p.rows), default=None)


def _first_rows(
    lakehouse: Lakehouse, partition: Partition, columns: list[str], masked: frozenset[str]
) -> list[Facts]:
    batch = next(lakehouse.batches([partition], columns, SAMPLE_ROWS))
    rows: list[Facts] = batch.slice(0, SAMPLE_ROWS).to_pylist()
    return [
        {name: _shown(value, hidden=name in masked) for name, value in row.items()} for row in rows
    ]


def _shown(value: Any, *, hidden: bool) -> Any:
    if value is None:
        return None
    if hidden:
        return MASK
    return value.isoformat() if hasattr(value, "isoformat") else value

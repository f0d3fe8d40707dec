"""Entity features by Spark: everybody's fraud rate by time, then each entity's history by itself.

    claims, labels --by time--> claims with the fraud rate that was known before each
                   --by entity--> packed features of each claim and entity

Both functions over groups are the library's own over arrays (`Timeline`, `entity_features`): an
entity's history is settled by its own claims and labels, except for the fraud rate of everybody,
which comes along as a column.

**An entity with many claims** would be one task's whole work. From HEAVY claims on it is cut in
time, into chunks as long as the longest window or longer: a chunk's claims are worked on together
with the claims of the chunk before it, and with those whose label became known in either. That is
all that their histories can reach, so that the result is the same; a task's memory is that of two
chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.contract import AMOUNT, Contract
from fraud_mlops.features.timeline import DAY, Timeline
from fraud_mlops.features.windows import (
    NEUTRAL_RATE,
    STRENGTH,
    entity_features,
    feature_names,
    lookbacks,
)
from fraud_mlops.spark.calendar import Calendar, LabelDays
from fraud_mlops.spark.claims import day_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BUCKET = 1 << 17
"""Claims of a group of entities that a task works on at a time: some hundred megabytes."""
HEAVY = 1 << 18
"""An entity with more claims is cut in time."""
PIECE = 1 << 17
_LEAST = 1 << 14  # claims that are worth a task

_WHOLE = -1  # chunk of an entity that is not cut
_PACKED = "id string, at bigint, kind int, packed binary"
_PACKED_SCHEMA = pa.schema(
    [("id", pa.string()), ("at", pa.int64()), ("kind", pa.int32()), ("packed", pa.binary())]
)


@dataclass(frozen=True)
class Sizes:
    """Limits of one task: claims of a bucket, and of an entity that is not cut; rows of claims and
    of their entities that are put together at a time."""

    bucket: int = BUCKET
    heavy: int = HEAVY
    piece: int = PIECE

    def buckets(self, claims: int) -> int:
        return max(1, -(-claims // self.bucket))


def tasks_for(parts: int, claims: int) -> int:
    """Tasks that parts are dealt out to, by hash: two a part, but none for a few claims alone."""
    return min(2 * parts, max(2, claims // _LEAST))


def packed_histories(
    contract: Contract,
    claims: DataFrame,
    names: Mapping[str, str],
    calendar: Calendar,
    sizes: Sizes,
) -> DataFrame:
    """One row a claim and entity that it names: id, at, kind, packed.

    names: positional ones of the raw columns. kind: 1 for the contract's first entity, and so on.
    packed: float32 of the entity's features, in the order of `feature_names`.
    """
    from pyspark.sql import functions as F  # noqa: N812

    entities = list(contract.entities)
    narrow = _narrow(contract, claims, names)
    tasks = sizes.buckets(len(calendar))
    rated = _rated(narrow, contract, calendar, tasks)
    rows = _of_each_entity(rated, entities)
    reached, own = _chunks(contract, _heavy(narrow, entities, calendar, sizes), calendar)
    bucket = F.pmod(F.xxhash64("key"), F.lit(tasks)).cast("int")
    rows = rows.withColumns({"chunk": F.explode(reached), "own": own, "bucket": bucket})
    group = ["kind", "bucket", "chunk"]
    several = max(2, sizes.buckets(len(calendar) * len(entities)))
    spread = rows.repartition(several, *group)
    return spread.groupBy(*group).applyInArrow(_by_entity(contract), _PACKED)


def _kinds(entities: Sequence[str]) -> range:
    return range(1, len(entities) + 1)


def _narrow(contract: Contract, claims: DataFrame, names: Mapping[str, str]) -> DataFrame:
    """What histories need: id, at, label (-1 unknown), known (0 without), amount, e1, e2, ..."""
    from pyspark.sql import functions as F  # noqa: N812

    nan = F.lit(float("nan"))
    amount = F.coalesce(F.col(names[AMOUNT]), nan) if contract.amount else nan
    return claims.select(
        F.col(names["claim_id"]).alias("id"),
        F.col(names["event_time"]).alias("at"),
        F.coalesce(F.col(names["label"]), F.lit(-1)).cast("tinyint").alias("label"),
        F.coalesce(F.col(names["label_time"]), F.lit(0)).cast("bigint").alias("known"),
        amount.alias("amount"),
        *(F.col(names[e]).alias(f"e{i}") for i, e in enumerate(contract.entities, 1)),
    )


def _rated(narrow: DataFrame, contract: Contract, calendar: Calendar, tasks: int) -> DataFrame:
    """Claims with `rate`: everybody's fraud rate, of labels known before each."""
    from pyspark.sql import functions as F  # noqa: N812

    # Stretches of as many days as hold about a bucket of claims.
    length = max(1, calendar.days // tasks)
    stretch = F.floor(day_of(F.col("at")) / length).cast("bigint") * length
    events = narrow.withColumns({"day": stretch, "is_label": F.lit(False)})
    labels = narrow.where("label >= 0").select("id", F.col("known").alias("at"), "label")
    labels = labels.withColumns({"day": stretch, "is_label": F.lit(True)})
    both = events.unionByName(labels, allowMissingColumns=True)
    spread = both.repartition(max(2, min(tasks, calendar.days)), "day")
    columns = [f"{name} {kind}" for name, kind in narrow.dtypes]
    entities = [f"e{i}" for i in _kinds(list(contract.entities))]
    function = _by_stretch(calendar.labels, ["id", "at", "label", "known", "amount", *entities])
    return spread.groupBy("day").applyInArrow(function, ", ".join([*columns, "rate double"]))


def _by_stretch(labels: LabelDays, columns: Sequence[str]) -> Callable[[pa.Table], pa.Table]:
    """In a task: the claims of some days with `rate`, by the labels before them and of them.

    The column `day` has the first of those days.
    """

    def rated(table: pa.Table) -> pa.Table:
        is_label = table.column("is_label").to_numpy(zero_copy_only=False)
        found = table.filter(pa.array(is_label))
        known = _numbers(found, "at")
        order = np.argsort(known, kind="stable")
        frauds = np.concatenate([[0], np.cumsum(_numbers(found, "label")[order], dtype=np.int64)])
        day = table.column("day")[0].as_py()
        labels_before, frauds_before = labels.before(day)
        events = table.filter(pa.array(~is_label)).select(columns)
        now = np.searchsorted(known[order], _numbers(events, "at"), side="left")
        count = labels_before + now
        rate = (frauds_before + frauds[now] + STRENGTH * NEUTRAL_RATE) / (count + STRENGTH)
        return events.append_column("rate", pa.array(rate, pa.float64()))

    return rated


def _of_each_entity(claims: DataFrame, entities: Sequence[str]) -> DataFrame:
    """A claim once for each entity that it names: kind, and key, the entity's value."""
    from pyspark.sql import functions as F  # noqa: N812

    one_each = F.array(
        *(F.struct(F.lit(i).alias("kind"), F.col(f"e{i}").alias("key")) for i in _kinds(entities))
    )
    rows = claims.withColumn("of", F.explode(one_each)).where("of.key IS NOT NULL")
    return rows.withColumns({"kind": F.col("of.kind"), "key": F.col("of.key")}).drop("of")


def _heavy(
    narrow: DataFrame, entities: Sequence[str], calendar: Calendar, sizes: Sizes
) -> dict[int, list[str]]:
    """Values of entities with more claims than one task should work on, by kind."""
    if len(calendar) <= sizes.heavy:
        return {}
    counted = _of_each_entity(narrow, entities).groupBy("kind", "key").count()
    found: dict[int, list[str]] = {}
    for row in counted.where(f"count > {sizes.heavy}").collect():
        found.setdefault(row["kind"], []).append(row["key"])
    return found


def _chunks(
    contract: Contract, heavy: Mapping[int, Sequence[str]], calendar: Calendar
) -> tuple[Column, Column]:
    """Chunks of time that a claim is needed in, and the one that its own features are made in."""
    from pyspark.sql import functions as F  # noqa: N812

    whole = F.lit(_WHOLE).cast("bigint")
    if not heavy:
        return F.array(whole), whole
    length = F.lit(max(lookbacks(contract)) * DAY).cast("bigint")

    def place(time: Column) -> Column:
        since = time - F.lit(int(calendar.times[0])).cast("bigint")
        return ((since - F.pmod(since, length)) / length).cast("bigint")

    at = place(F.col("at"))
    known = F.when(F.col("label") >= 0, place(F.col("known"))).otherwise(at)
    reached = F.array_distinct(F.array(at, at + 1, known, known + 1))
    named = [(F.col("kind") == kind) & F.col("key").isin(keys) for kind, keys in heavy.items()]
    cut = reduce(or_, named)
    return F.when(cut, reached).otherwise(F.array(whole)), F.when(cut, at).otherwise(whole)


def _by_entity(contract: Contract) -> Callable[[pa.Table], pa.Table]:
    """In a task: packed features of the claims of some entities of one kind, whole or a chunk."""

    def features(table: pa.Table) -> pa.Table:
        return _packed_features(contract, table)

    return features


def _packed_features(contract: Contract, table: pa.Table) -> pa.Table:
    names = list(contract.entities)
    kind = table.column("kind")[0].as_py()
    entity = names[kind - 1]
    table = table.sort_by([("at", "ascending"), ("id", "ascending")]).combine_chunks()
    at = _numbers(table, "at")
    timeline = Timeline.of(
        at,
        _numbers(table, "label").astype(np.int8),
        _numbers(table, "known"),
        _numbers(table, "amount") if contract.amount else np.empty(0),
        days=lookbacks(contract),
        neutral_rate=NEUTRAL_RATE,
        strength=STRENGTH,
    )
    # Of these claims alone; everybody's was worked out by time.
    timeline = replace(timeline, fraud_rate=_numbers(table, "rate"))
    codes = {name: _codes(table.column(f"e{i}")) for i, name in enumerate(names, 1)}
    rows = np.arange(len(timeline))
    width = len(feature_names(contract, entity))
    matrix = np.empty((len(rows), width), dtype="<f4")
    for j, (_, values) in enumerate(entity_features(contract, timeline, entity, rows, codes)):
        matrix[:, j] = values
    own = np.flatnonzero(_numbers(table, "own") == _numbers(table, "chunk"))
    columns = [
        table.column("id").take(pa.array(own)).cast(pa.string()),
        pa.array(at[own]),
        pa.array(np.full(len(own), kind, dtype=np.int32)),
        pa.chunked_array([_binary(matrix[own])]),
    ]
    return pa.table(columns, schema=_PACKED_SCHEMA)


def _codes(values: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    indices = values.combine_chunks().dictionary_encode().indices.fill_null(-1)
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int32)


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False))


def _binary(matrix: npt.NDArray[np.float32]) -> pa.Array:
    """Each row's bytes as one value, without a copy a row."""
    rows, width = matrix.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * (width * matrix.itemsize)
    data = np.ascontiguousarray(matrix)
    return pa.Array.from_buffers(
        pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )

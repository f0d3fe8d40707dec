"""Scores by Spark: each partition of ml_outputs by one task, in the batches of the local engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import pyarrow as pa

from fraud_mlops.claims.schema import unsaid_columns
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.features.feature_set import FeatureSet
from fraud_mlops.lakehouse.partitions import PART, Lakehouse, Partition
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.outputs import OUTPUTS, of_one_size, outputs
from fraud_mlops.spark.claims import partition_value, positions, read
from fraud_mlops.spark.delivery import PIECES, deliver, encoded
from fraud_mlops.spark.features import SCRATCH
from fraud_mlops.spark.histories import tasks_for
from fraud_mlops.spark.session import spark_session
from fraud_mlops.spark.stitching import cut
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ZONE = "ml_outputs"
Batches = Iterator[pa.RecordBatch]


def score_partitions(
    lakehouse: Lakehouse, features: FeatureSet, leader: Leader, metadata: Mapping[str, str]
) -> list[Partition]:
    """Every claim that is to be scored, into partitions of ml_outputs; without claims, none.

    Raises SettingsError where Spark cannot run.
    """
    files = [file for name in features.scored for file in features.file(name).objects if file.rows]
    if not files:
        return []
    dataset, key = features.contract.name, features.contract.partition
    scratch = lakehouse.uri(SCRATCH, f"{dataset}-{metadata['launch_id']}-scores")

    def address(value: str) -> str:
        return lakehouse.uri(_ZONE, dataset, f"{key}={value}", PART)

    print(f"{dataset}: scoring {counted(features.scored_rows, 'claim')} on Spark")
    with spark_session() as spark:
        pieces = _pieces(spark, features, [file.uri for file in files], leader, metadata)
        found = deliver(pieces, scratch, address)
    return [
        Partition(
            zone=_ZONE, dataset=dataset, key=key, value=value, uri=address(value),
            rows=facts.rows, bytes=facts.bytes, data_version=facts.data_version,
        )
        for value, facts in found.items()
    ]  # fmt: skip


def _pieces(
    spark: SparkSession,
    features: FeatureSet,
    uris: Sequence[str],
    leader: Leader,
    metadata: Mapping[str, str],
) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    schema = _needed(features, leader)
    names = positions(schema)
    at = F.col(names[EVENT_TIME])
    rows = read(spark, uris, schema).withColumn(
        "part", partition_value(at, features.contract.partition)
    )
    spread = rows.repartition(tasks_for(len(uris), features.scored_rows), "part")
    spread = spread.sortWithinPartitions("part", names[EVENT_TIME], names[CLAIM_ID])
    files, unsaid = leader.model.to_files(), unsaid_columns(features.contract)
    return spread.mapInArrow(_scorer(schema, files, leader.version, unsaid, metadata), PIECES)


def _needed(features: FeatureSet, leader: Leader) -> pa.Schema:
    """Columns that the model needs, as the features' files have them."""
    derived = set(features.numeric) - {"amount", *(features.contract.numeric or ())}
    fields = [pa.field(CLAIM_ID, pa.string()), pa.field(EVENT_TIME, pa.timestamp("us", "UTC"))]
    for name in leader.model.features:
        numeric = pa.float32() if name in derived else pa.float64()
        fields.append(pa.field(name, numeric if name in features.numeric else pa.string()))
    return pa.schema(fields)


def _scorer(
    schema: pa.Schema,
    files: Mapping[str, bytes],
    version: str,
    unsaid: Collection[str],
    metadata: Mapping[str, str],
) -> Callable[[Batches], Batches]:
    def score(batches: Batches) -> Batches:
        import torch

        from fraud_mlops.models.fraud_model import FraudModel

        torch.set_num_threads(1)  # Spark has a task on every core already
        model = FraudModel.from_files(dict(files))
        for value, group in groupby(_claims(batches, schema), key=itemgetter(0)):
            claims = of_one_size(batch for _, batch in group)
            scored = (outputs(model, version, batch, unsaid) for batch in claims)
            yield from encoded(value, scored, OUTPUTS, metadata)

    return score


def _claims(batches: Batches, schema: pa.Schema) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches under their own names and types, cut where a new partition begins."""
    for batch in batches:
        columns = [batch.column(i).cast(field.type) for i, field in enumerate(schema)]
        claims = pa.record_batch(columns, schema=schema)
        yield from cut(batch.column("part"), claims)

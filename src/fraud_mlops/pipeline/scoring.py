"""Score claims: read, forward, calibrate, alert, explain the alerts, write; in flat memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import pyarrow as pa

from fraud_mlops.claims.raw_zone import RawClaims
from fraud_mlops.claims.schema import unsaid_columns
from fraud_mlops.contract import EVENT_TIME
from fraud_mlops.errors import FraudMlopsError, OvertakenError
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.feature_set import scored_batches
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.outputs import OUTPUTS, of_one_size, outputs
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.serving.entity_state import publish_entity_state, state_uri
from fraud_mlops.spark.choice import on_spark
from fraud_mlops.words import counted

_PROGRESS_SECONDS = 3.0


def score(plan: RunPlan, features: FeatureSet, leader: Leader) -> tuple[Partition, ...]:
    """Scores every claim that is to be, into the ml_outputs zone.

    Every partition of the plan's range is written, also those without a claim. A partition's rows
    are the same bit for bit whatever others are scored with it. By the plan's engine.
    Raises FraudMlopsError when the model needs features that the claims do not have.
    """
    _require_features(features, leader)
    dataset, period = features.contract.name, features.contract.partition
    lakehouse, place = Lakehouse(plan.output_uri), ("ml_outputs", dataset, period)
    metadata = {"run": plan.run, "launch_id": plan.launch_id, "model_version": leader.version}
    if on_spark(plan.engine, features.scored_rows):
        from fraud_mlops.spark.scoring import score_partitions

        written = score_partitions(lakehouse, features, leader, metadata)
    else:
        from fraud_mlops.models.runtime import cpu_threads

        with cpu_threads(plan.threads_here):
            written = lakehouse.write_sorted(*place, _scored(leader, features), OUTPUTS, metadata)
    named = plan.partitions.values() if plan.partitions else ()
    empty = set(named) - {partition.value for partition in written}
    written += [lakehouse.write(*place, value, (), OUTPUTS, metadata) for value in empty]
    print(f"scored {counted(sum(p.rows for p in written), 'claim')} with {leader.version}")
    return tuple(sorted(written, key=lambda partition: partition.value))


def publish_state(plan: RunPlan, raw: RawClaims) -> Partition | None:
    """What entities have done so far, for claims that are scored one by one; see `entity_state`.

    None where it stays as it is. Claims that land while a run trains are no fault of the run, whose
    scores stand by now.
    """
    lakehouse = Lakehouse(plan.output_uri)
    try:
        published = publish_entity_state(
            raw.contract, lakehouse, raw.partitions, as_of=plan.as_of, run=plan.run
        )
    except OvertakenError:
        print(
            "note: the raw zone has been written since this run began, so that the entity state "
            f"stays; publish it: python flows/scoring_flow.py run {plan.options}"
        )
        return None
    if published is None and raw.contract.entities:
        print(
            f"the entity state is one as of a later time than {plan.as_of:%F %H:%M} UTC, and "
            f"stays; to go back, remove {state_uri(raw.contract, lakehouse)} first"
        )
    return published


def _require_features(features: FeatureSet, leader: Leader) -> None:
    there = {*features.numeric, *features.categorical}
    if missing := [name for name in leader.model.features if name not in there]:
        raise FraudMlopsError(
            f"model {leader.version} needs features that the contract no longer has: {missing}. "
            "Restore them, train again, or give the changed contract another name."
        )


def _scored(leader: Leader, features: FeatureSet) -> Iterator[tuple[str, pa.RecordBatch]]:
    began = told = time.monotonic()
    done, total = 0, features.scored_rows
    unsaid = unsaid_columns(features.contract)
    for value, batch in _aligned(features):
        yield value, outputs(leader.model, leader.version, batch, unsaid)
        done += batch.num_rows
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            rate = done / (told - began)
            print(f"scored {done:,} of {total:,} claims ({rate:,.0f} a second)")


def _aligned(features: FeatureSet) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches of one size, counted from the first claim of each partition.

    Float32 sums depend on the number of claims that are multiplied at once, in the last bit.
    """
    period = features.contract.partition
    cut = by_partition(scored_batches(features), EVENT_TIME, period)
    for value, parts in groupby(cut, itemgetter(0)):
        for batch in of_one_size(batch for _, batch in parts):
            yield value, batch

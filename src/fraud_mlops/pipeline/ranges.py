"""Which partitions a run scores, their features, and scores that stand already."""

from __future__ import annotations

from fraud_mlops.claims.raw_zone import RawClaims, RawZone, in_range, pin_raw_zone
from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.errors import LakehouseError, SettingsError
from fraud_mlops.features.build import FeatureSet, build_range
from fraud_mlops.features.split import Split
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of, partition_start
from fraud_mlops.lakehouse.uniqueness import repeated_values
from fraud_mlops.pipeline.leading import champion_manifest
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.registry.lineage import resolved_version
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.spark.choice import on_spark
from fraud_mlops.words import counted

LOOKED_THROUGH = 5_000_000
"""So many claims' ids are read in a second or two; for more there is Dagster's check."""


def pin_raw(plan: RunPlan) -> RawZone:
    """The raw zone as it stands; says where claims stand in it twice.

    Raises LakehouseError when it is empty, or not of one piece, and SettingsError for a run as of
    a time when there was not one claim yet.
    """
    raw = pin_raw_zone(plan.contract, Lakehouse(plan.output_uri), named=plan.named)
    first = next(partition.value for partition in raw.partitions if partition.rows)
    began = partition_start(first, plan.contract.partition)
    if plan.as_of < began:
        raise SettingsError(
            f"--as-of {plan.as_of:%F %H:%M} UTC is before the first claims of "
            f"{plan.contract.name}, which are of {first}: nothing was known by then. Give a time "
            f"after {began:%F}, or leave --as-of out"
        )
    _tell_twice(plan, raw)
    return raw


def _tell_twice(plan: RunPlan, raw: RawZone) -> None:
    """A claim whose date was corrected stands in its old partition until that is read again."""
    # Of two seeds, or by the row of a file that was replaced, other claims have the same ids.
    contract = raw.contract
    unnamed = isinstance(contract.source, SyntheticSource) or contract.claim_id is None
    if unnamed or sum(partition.rows for partition in raw.partitions) > LOOKED_THROUGH:
        return
    if twice := repeated_values(Lakehouse(plan.output_uri), raw.partitions, CLAIM_ID):
        print(
            f"warning: {counted(twice, 'claim id')} found twice in the raw zone, as where a date "
            "was corrected: such claims count twice in histories, training and scores. Read their "
            f"old partitions again: python flows/ingest_flow.py run {plan.lake_options} reads "
            "all, and names those to be emptied"
        )


def with_range(plan: RunPlan, raw: RawClaims) -> RunPlan:
    """The plan with the partitions to score: its own, or all since the champion's OOT window began.

    Raises RegistryError without a champion, LakehouseError when raw has none of the partitions.
    """
    split = _split(plan)
    wanted = plan.partitions
    if wanted is None:
        period = plan.contract.partition
        since = partition_of(split.oot.start, period)
        last = max(since, raw.partitions[-1].value)
        wanted = PartitionRange.of(since, last, period)
    there = in_range(raw.partitions, wanted)
    if not there:
        dataset = plan.contract.name
        raise LakehouseError(
            f"{dataset}: there are no raw partitions from {wanted.first} to {wanted.last}, only "
            f"from {raw.partitions[0].value} to {raw.partitions[-1].value}. Ingest them: "
            f"python flows/ingest_flow.py run {plan.lake_options} "
            f"--partition-start {wanted.first} --partition-end {wanted.last}"
        )
    if missing := len(wanted.values()) - len(there):
        print(f"note: {missing} of the partitions are not in the raw zone: they count as empty")
    return plan.model_copy(update={"partitions": wanted})


def prepare_range(plan: RunPlan, raw: RawClaims) -> FeatureSet:
    """Features of the claims of the plan's partitions, with all the history they need; by the
    plan's engine."""
    if plan.partitions is None:
        raise TypeError("the plan names no partitions; see with_range")
    place = raw.contract, Lakehouse(plan.output_uri), raw.partitions, plan.partitions, _split(plan)
    if on_spark(plan.engine, sum(partition.rows for partition in raw.partitions)):
        from fraud_mlops.spark import features as spark

        return spark.build_range(*place, launch_id=plan.launch_id, as_of=plan.as_of)
    return build_range(*place, launch_id=plan.launch_id, as_of=plan.as_of)


def as_scored(plan: RunPlan) -> RunPlan:
    """The plan with the model that has scored its partitions, where they are only measured again.

    What an older champion has decided is held against that one. Raises LakehouseError when a
    partition has no scores, or when two models have scored them.
    """
    if plan.publishes("ml_outputs"):
        return plan
    lakehouse, name = Lakehouse(plan.output_uri), plan.contract.name
    by: dict[str, list[str]] = {}
    for partition in standing_scores(plan):
        named = lakehouse.metadata(partition).get("model_version", "")
        version = resolved_version(plan.model_uri, name, named)
        by.setdefault(version, []).append(partition.value)
    if len(by) > 1:
        told = "; ".join(f"{values[0]} to {values[-1]} by {v}" for v, values in by.items())
        raise LakehouseError(
            f"{name}: several models have scored these partitions ({told}). Measure those of each "
            "model in a run of their own."
        )
    return plan.model_copy(update={"champion": next(iter(by), plan.champion)})


def standing_scores(plan: RunPlan) -> tuple[Partition, ...]:
    """The ml_outputs partitions of the plan's range, as earlier runs have written them.

    Raises LakehouseError when one is missing.
    """
    if plan.partitions is None:
        raise TypeError("the plan names no partitions; see with_range")
    lakehouse, name = Lakehouse(plan.output_uri), plan.contract.name
    found = {p.value: p for p in lakehouse.partitions("ml_outputs", name)}
    wanted = plan.partitions.values()
    if missing := [value for value in wanted if value not in found]:
        raise LakehouseError(
            f"{name}: {len(missing)} of the partitions have no scores to measure, {missing[0]} the "
            "first of them. Score them too: add ml_outputs to --assets"
        )
    return tuple(found[value] for value in wanted)


def _split(plan: RunPlan) -> Split:
    return Split.model_validate(champion_manifest(plan).split)

"""Claims that keep the contract, a Parquet object a partition: IngestFlow."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_metaflow import MetaflowResource, metaflow_assets
from fraud_assets.assets.specs import CLAIMS, asset_spec, claims_freshness
from fraud_assets.dataset import LANDING, RAW_ZONE, Dataset
from fraud_assets.flows import ingest_flow
from fraud_assets.stores import Stores

_DESCRIPTION = """Claims in canonical columns, one Parquet object a partition by event time.

A partition is a function of the source: it is read again whole, and replaced atomically. Rows that
break the contract are in quarantine, each with its reason. Labels that are not known yet are
blank, so that a partition is worth reading again when its label delay is over (ingest schedule)."""

_CHECKS = {
    "contract": "Every claim that was published keeps the contract.",
    "quarantine_share": "No more rows are in quarantine than half of what `quality.max_bad_share` "
    "allows; with more than all of it nothing is published.",
    "no_duplicate_claims": "No claim stands twice in the partitions of a run.",
}
_BLOCKING = {"no_duplicate_claims"}


def raw_zone(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of IngestFlow; several partitions are one run."""
    flow = ingest_flow(dataset)
    key = dataset.key(RAW_ZONE)
    spec = asset_spec(
        dataset,
        RAW_ZONE,
        group=CLAIMS,
        kinds={"parquet"},
        description=_DESCRIPTION,
        freshness=claims_freshness(dataset),
        deps=[dataset.key(LANDING)],
        partitions_def=dataset.partitions,
    )
    checks = [
        dg.AssetCheckSpec(name, asset=key, blocking=name in _BLOCKING, description=words)
        for name, words in _CHECKS.items()
    ]

    @metaflow_assets(
        flow=flow,
        name=f"{dataset.name}__ingest",
        assets=[spec],
        check_specs=checks,
        pool="writer_raw",
    )
    def ingest(
        context: dg.AssetExecutionContext, metaflow: MetaflowResource, stores: Stores
    ) -> Iterator[Any]:
        yield from metaflow.run(context, flow, {"model_uri": stores.models}).stream()

    return ingest

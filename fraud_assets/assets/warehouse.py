"""Metrics where BI finds them: a table of the warehouse, and the Power BI model on its views."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_metaflow.data_versions import noted_versions, version_tags
from fraud_assets.assets.specs import SERVING, asset_spec, claims_freshness
from fraud_assets.automation import sync_when_measured
from fraud_assets.code_version import code_version
from fraud_assets.dataset import METRICS, SEMANTIC_MODEL, SNOWFLAKE_METRICS, Dataset
from fraud_assets.stores import Stores
from fraud_assets.warehouse import engine_kind
from fraud_assets.warehouse_resource import WarehouseResource
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.warehouse import columns, marks, moving
from fraud_mlops.warehouse.names import VIEWS
from fraud_mlops.warehouse.schema import schema_version
from fraud_mlops.warehouse.sync import PartitionsError, Synced, SyncResult, sync

POWERBI_PROJECT = "infra/powerbi/FraudMetrics.pbip"
POWERBI_NAME = "Fraud metrics"

_TABLE = """The metrics zone as a table of the warehouse, with views for BI on it.

In Snowflake where SNOWFLAKE_ACCOUNT is set, else in a DuckDB file. What has changed is merged, a
transaction a partition, and each content goes in exactly once: run it as often as you like."""

_MODEL = """Power BI's semantic model, and the report on it.

Reads the warehouse's views; nothing is materialized here. It shows whose figures are wrong when
the table's are. The project is in infra/powerbi."""


def snowflake_metrics(dataset: Dataset) -> dg.AssetsDefinition:
    """One sync at a time: pool `warehouse_sync`. Several partitions are one run."""
    spec = asset_spec(
        dataset,
        SNOWFLAKE_METRICS,
        group=SERVING,
        kinds={engine_kind(), "table"},
        description=_TABLE,
        freshness=claims_freshness(dataset),
        deps=[dataset.key(METRICS)],
        partitions_def=dataset.partitions,
        automation_condition=sync_when_measured(),
        code_version=_code_version(),
    )

    @dg.multi_asset(
        name=f"{dataset.name}__sync_metrics",
        specs=[spec],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="warehouse_sync",
    )
    def sync_metrics(
        context: dg.AssetExecutionContext, stores: Stores, warehouse: WarehouseResource
    ) -> Iterator[Any]:
        try:
            done = sync(
                stores.lakehouse,
                warehouse.open(),
                dataset.name,
                partitions=context.partition_keys,
                say=context.log.info,
            )
        except PartitionsError as error:
            yield from _each(context, spec.key, error.done)
            raise dg.Failure(str(error)) from None
        except FraudMlopsError as error:
            raise dg.Failure(str(error)) from None
        if done.views:
            context.log.warning(done.views)
        yield from _results(context, spec.key, done)

    return sync_metrics


def semantic_model(dataset: Dataset) -> dg.AssetSpec:
    """What Power BI makes of the views; seen here, refreshed there.

    Kinds, tag and name are those that dagster-powerbi gives a semantic model. Its own spec is made
    of what a workspace's API answers: id, address, and Snowflake's tables as what is upstream.
    """
    spec = asset_spec(
        dataset,
        SEMANTIC_MODEL,
        group=SERVING,
        kinds={"powerbi", "semantic_model"},
        description=_MODEL,
        deps=[dataset.key(SNOWFLAKE_METRICS)],
        metadata={
            "dagster-powerbi/name": POWERBI_NAME,
            "project": POWERBI_PROJECT,
            "views": list(VIEWS),
        },
    )
    return spec.merge_attributes(tags={"dagster-powerbi/asset_type": "semantic_model"})


def _results(
    context: dg.AssetExecutionContext, key: dg.AssetKey, done: SyncResult
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetMaterialization]:
    """One result, and where it stands for several partitions, each again with its own figures.

    Dagster gives all partitions of a result one data version; what comes after it is the latest of
    its partition.
    """
    *_, last = done.partitions
    several = len(done.partitions) > 1
    yield dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(last.data_version),
        metadata=_of_sync(done) | ({} if several else _of_partition(last)),
    )
    if several:
        yield from _each(context, key, done)


def _each(
    context: dg.AssetExecutionContext, key: dg.AssetKey, done: SyncResult
) -> Iterator[dg.AssetMaterialization]:
    """Of each partition that is there, whatever became of others."""
    noted = noted_versions(context.instance, key)
    for one in done.partitions:
        yield dg.AssetMaterialization(
            key,
            partition=one.partition,
            metadata=_of_sync(done) | _of_partition(one),
            tags=noted | version_tags(one.data_version),
        )


def _of_sync(done: SyncResult) -> dict[str, Any]:
    found = {
        "engine": done.engine,
        "dagster/table_name": done.table_name,
        "address": done.address,
        "rows_moved": done.rows_moved,
        "rows_skipped": done.rows_skipped,
        "partitions_moved": sum(p.moved for p in done.partitions),
    }
    told = {"gone_from_the_lakehouse": done.gone, "columns_of_others": done.extra_columns}
    views = {"views": done.views} if done.views else {}
    return found | views | {name: list(values) for name, values in told.items() if values}


def _of_partition(one: Synced) -> dict[str, Any]:
    return {
        "dagster/row_count": one.rows,
        "checksum": one.checksum,
        "moved": one.moved,
        "rows_deleted": one.deleted,
        "values_not_finite": one.not_finite,
    }


def _code_version() -> str:
    """Of what decides what comes out: how metrics become rows, how these are moved, the tables and
    views. Not of how an engine is reached, or what is said of errors."""
    return code_version(
        [Path(str(module.__file__)) for module in (columns, marks, moving)], schema_version()
    )

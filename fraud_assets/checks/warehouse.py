"""Whether the warehouse holds the metrics that the lakehouse holds."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from collections.abc import Sequence

import dagster as dg

from fraud_assets.checks.verdicts import OF_RUN
from fraud_assets.dataset import METRICS, SNOWFLAKE_METRICS, Dataset
from fraud_assets.stores import Stores
from fraud_assets.warehouse_resource import WarehouseResource
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.warehouse.parity import Difference, Parity, compare

_SHOWN = 10


def parity(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking: what is built on the table must be built on all of it.

    That a partition was not synced yet is only a warning; that it was, and differs, is not.
    """

    @dg.asset_check(
        asset=dataset.key(SNOWFLAKE_METRICS),
        name="parity",
        additional_deps=[dataset.key(METRICS)],
        blocking=True,
        description="As many rows as in the lakehouse, with the same content by checksum: of the "
        "partitions that a run has synced, or of all.",
    )
    def check(
        context: dg.AssetCheckExecutionContext, stores: Stores, warehouse: WarehouseResource
    ) -> dg.AssetCheckResult:
        op = context.op_execution_context
        asked = op.partition_keys if op.has_partition_key or op.has_partition_key_range else None
        try:
            found = compare(
                stores.lakehouse,
                warehouse.open(),
                dataset.name,
                asked,
                say=context.log.info,
                sync_by=dataset.titled("warehouse_sync_job"),
            )
        except FraudMlopsError as error:
            return dg.AssetCheckResult(
                passed=False, description=str(error), metadata={OF_RUN: asked is not None}
            )
        return _result(found, of_run=asked is not None)

    return check


def _result(found: Parity, *, of_run: bool) -> dg.AssetCheckResult:
    broken = any(difference.broken for difference in found.differences)
    severity = dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=found.holds,
        severity=severity,
        description=_told(found.differences),
        metadata={
            OF_RUN: of_run,
            "partitions": found.partitions,
            "lakehouse_rows": found.lakehouse_rows,
            "warehouse_rows": found.warehouse_rows,
            "checksum": found.checksum,
            **({"views": found.views} if found.views else {}),
        },
    )


def _told(differences: Sequence[Difference]) -> str | None:
    if not differences:
        return None
    shown = [f"{one.partition}: {one.what}" for one in differences[:_SHOWN]]
    more = len(differences) - _SHOWN
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")

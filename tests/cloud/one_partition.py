"""A process that materializes one partition of the raw zone, as a worker of Dagster's does.

    python one_partition.py BACKEND LAKEHOUSE PARTITION SEED

Instance, account and settings are those of the environment. Prints how it ended, as JSON.
"""

# No `from __future__ import annotations`: Dagster reads the types of resources.

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_metaflow import BACKEND_TAG, MetaflowFlow, MetaflowResource, metaflow_assets

FILE = Path(__file__).parents[2] / "flows" / "ingest_flow.py"
DATASET = "synthetic_claims"
QUICK: dict[str, Any] = {"look_seconds": 0.2, "most_look_seconds": 0.5, "log_lag_seconds": 0.0}


def main(backend: str, lake: str, partition: str, seed: str) -> None:
    flow = MetaflowFlow(FILE, fixed={"dataset": DATASET})

    @metaflow_assets(
        flow=flow,
        assets=[dg.AssetSpec([DATASET, "raw_zone"])],
        partitions_def=dg.StaticPartitionsDefinition([partition]),
        name="ingest",
    )
    def ingest(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
        yield from metaflow.run(context, flow, {"sample_size": 6000, "seed": int(seed)}).stream()

    with dg.DagsterInstance.get() as instance:
        result = dg.materialize(
            [ingest],
            instance=instance,
            partition_key=partition,
            resources={"metaflow": MetaflowResource(ledger_root=lake, step_functions=QUICK)},
            raise_on_error=False,
            tags={BACKEND_TAG: backend},
        )
        made = result.asset_materializations_for_node("ingest")
        versions = {one.partition: (one.tags or {})["dagster/data_version"] for one in made}
        failed = [event.message for event in result.all_events if event.is_failure]
    print(json.dumps({"run": result.run_id, "failures": failed, "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A year of claims that land as files, and all that becomes of them through Dagster, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from assets_kit import CANDIDATES, GENERATED, Place
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from fraud_assets.run_requests import RANGE_END, RANGE_START
from fraud_assets.sensors import landing
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic.generator import generate

MADE = ("raw_zone", "model_artifact", "ml_outputs", "metrics")
"""By flows. What is synced to the warehouse comes after them."""
SYNCED = "snowflake_metrics"
BROKEN = "2024-99.parquet"


@dataclass
class Everything:
    """ticked: what the landing sensor asked for. result: of the pipeline run for it."""

    place: Place
    rows: int
    ticked: Any
    result: dg.ExecuteInProcessResult

    @cached_property
    def materialized(self) -> dict[str, dict[str | None, dg.AssetMaterialization]]:
        """By asset and partition, in the order in which Dagster came to know them."""
        found: dict[str, dict[str | None, dg.AssetMaterialization]] = {}
        for event in self.result.get_asset_materialization_events():
            made = event.step_materialization_data.materialization
            found.setdefault(made.asset_key.path[-1], {})[made.partition] = made
        return found

    def facts(self, asset: str, partition: str | None = None) -> dict[str, Any]:
        """Metadata of a materialization in plain values."""
        made = self.materialized[asset][partition]
        return {name: value.value for name, value in made.metadata.items()}

    @cached_property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        return _by_name(self.result)

    def looked_over(self) -> dict[str, dg.AssetCheckEvaluation]:
        """What the checks of the stores find now."""
        return _by_name(self.place.run("store_checks_job", good=None))

    def versions(self) -> dict[str, str | None]:
        """Data version of each partition of the raw zone as Dagster knows it."""
        key = self.place.dataset.key("raw_zone")
        return {
            partition: (self._latest(key, partition).tags or {}).get("dagster/data_version")
            for partition in self.materialized["raw_zone"]
            if partition
        }

    def _latest(self, key: dg.AssetKey, partition: str) -> dg.AssetMaterialization:
        found = self.place.instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=[partition]), limit=1
        )
        made = found.records[0].asset_materialization
        assert made is not None
        return made

    def stale(self) -> list[str]:
        """What the UI would materialize for "changed and missing" in the partitions made here."""
        graph = self.place.defs.resolve_asset_graph()
        instance = self.place.instance
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return [
            f"{asset} {partition or ''}"
            for asset in (*MADE, SYNCED)
            for partition in self.materialized[asset]
            if resolver.get_status(self.place.dataset.key(asset), partition) != StaleStatus.FRESH
        ]


def _by_name(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    found = result.get_asset_check_evaluations()
    return {f"{check.asset_key.path[-1]}:{check.check_name}": check for check in found}


@contextmanager
def everything(folder: Path) -> Iterator[Everything]:
    """Files land, the landing sensor asks, the pipeline runs for what it asks for."""
    contract = yaml.safe_load(GENERATED)
    source = SyntheticSource.model_validate(contract["source"])
    contract["source"] = {"uri": "landing/*.parquet"}
    (folder / "home").mkdir()
    with (
        dg.DagsterInstance.local_temp(str(folder / "home")) as instance,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)  # Metaflow's own records lie where one starts it
        patch.setattr(landing, "SETTLE_SECONDS", 0.0)
        place = Place(folder, [yaml.safe_dump(contract)], instance)
        rows = land(source, place.landing)
        (place.landing / BROKEN).write_bytes(b"no Parquet")
        ticked = place.tick("landing_sensor")
        for event in ticked.asset_events:
            instance.report_runless_asset_event(event)
        yield Everything(place, rows, ticked, pipeline(place, ticked.run_requests[0]))


def land(source: SyntheticSource, folder: Path) -> int:
    """A file a month, as an insurer's system would send them."""
    claims = pa.Table.from_batches([chunk.claims for chunk in generate(source)])
    months = pc.strftime(claims.column("event_time"), format="%Y-%m")
    for month in pc.unique(months).to_pylist():
        pq.write_table(claims.filter(pc.equal(months, month)), folder / f"{month}.parquet")
    return int(claims.num_rows)


def pipeline(place: Place, asked: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """Everything for the partitions of a request, with one small candidate."""
    file = place.folder / "candidates.yaml"
    file.write_text(CANDIDATES)
    return place.run(
        "fraud_pipeline_job",
        asked.tags[RANGE_START],
        asked.tags[RANGE_END],
        config={f"{place.dataset.name}__train": {"config": {"candidates_file": str(file)}}},
    )

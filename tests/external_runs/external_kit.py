"""Runs that nobody in Dagster launched, and a sensor that looks at them as the daemon does."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData

from dagster_metaflow.reports import Check, Materialization, write_report

FLOW = "ToyFlow"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


def publish(
    root: Path | str,
    launch: str,
    asset: str = "first",
    *,
    partitions: Sequence[str | None] = (None,),
    version: str = "v",
    checks: Sequence[Check] = (),
    minute: int | None = None,
    flow: str = FLOW,
    **metadata: Any,
) -> Path:
    """As a step does. minute: when, after `BEGAN`; now by default."""
    made = [
        Materialization(data_version=version, partition=p, metadata=metadata) for p in partitions
    ]
    run = f"{flow}/{launch}/start/1"
    place = Path(write_report(str(root), flow, launch, asset.split("/"), made, checks, run=run))
    if minute is not None:
        content = json.loads(place.read_bytes())
        content["written"] = (BEGAN + timedelta(minutes=minute)).isoformat()
        place.write_text(json.dumps(content))
    return place


def taken_at(place: Path, minute: float) -> None:
    """The store's own time of a file."""
    moment = (BEGAN + timedelta(minutes=minute)).timestamp()
    os.utime(place, (moment, moment))


@dataclass
class Daemon:
    """Ticks a sensor and stores what it gives, in the order in which Dagster's daemon does."""

    sensor: dg.SensorDefinition
    instance: dg.DagsterInstance
    definitions: dg.Definitions | None = None
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def evaluate(self) -> SensorExecutionData:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions
        )
        return self.sensor.evaluate_tick(context)

    def tick(self, *, killed_after: int | None = None) -> list[Event]:
        """Events that were stored. killed_after: events; the cursor is not stored then."""
        data = self.evaluate()
        self.said.append(data.skip_message or "")
        events = list(data.asset_events)[:killed_after]
        for event in events:
            self.instance.report_runless_asset_event(event)
        if killed_after is None:
            self.cursor = data.cursor
        return events


def materializations(instance: dg.DagsterInstance, asset: str = "first") -> list[str]:
    """Of an asset, `launch` or `launch:partition`, in the order of the event log."""
    key = dg.AssetKey(asset.split("/"))
    records = instance.fetch_materializations(key, limit=10_000, ascending=True).records
    made = [record.asset_materialization for record in records]
    return [_words(event) for event in made if event is not None]


def _words(event: dg.AssetMaterialization) -> str:
    launch = event.metadata["launch_id"].value
    return str(launch) if event.partition is None else f"{launch}:{event.partition}"


def evaluations(instance: dg.DagsterInstance, check: str, asset: str = "first") -> list[str]:
    """Launches that evaluated a check, the first first."""
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check), limit=1000
    )
    found = [record.evaluation for record in reversed(history)]
    return [str(e.metadata["launch_id"].value) for e in found if e is not None]


def toy_flow(folder: Path) -> Path:
    """A flow of two steps, each of which publishes an asset."""
    place = folder / "toy_flow.py"
    place.write_text(_TOY, encoding="utf-8")
    return place


def flow_environment(folder: Path) -> dict[str, str]:
    """Runs stay in the test's own folder."""
    own = {
        "METAFLOW_USER": "test",
        "METAFLOW_HOME": str(folder / ".metaflowconfig"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
    }
    return {**os.environ, **own}


_TOY = """
from metaflow import FlowSpec, Parameter, card, current, step

from dagster_metaflow.reports import Check, Materialization, write_report


class ToyFlow(FlowSpec):
    '''Makes two assets.'''

    output_uri = Parameter("output-uri", default="lake")
    launch_id = Parameter("launch-id", default=None, type=str)
    assets = Parameter("assets", default="first,second")
    partition_start = Parameter("partition-start", default=None, type=str)
    partition_end = Parameter("partition-end", default=None, type=str)
    size = Parameter("size", default=3, help="Rows to make.")

    @card(type="blank", id="shape")
    @step
    def start(self):
        self.report("first", {"cards": {"shape": self.task()}})
        self.next(self.end)

    @step
    def end(self):
        self.report("second", {})

    def report(self, name, facts):
        if name not in self.assets.split(","):
            return
        months = [m for m in (self.partition_start, self.partition_end) if m]
        made = [
            Materialization(
                data_version=str(self.size), partition=month, metadata={"rows": self.size, **facts}
            )
            for month in sorted(set(months)) or [None]
        ]
        launch = self.launch_id or current.run_id
        checks = [Check(name="fine", passed=self.size > 0)]
        write_report(self.output_uri, "ToyFlow", launch, [name], made, checks, run=self.task())

    def task(self):
        return f"ToyFlow/{current.run_id}/{current.step_name}/{current.task_id}"


if __name__ == "__main__":
    ToyFlow()
"""

"""A tick of the sensor that records runs from outside Dagster, over ledgers of many launches.

    python benchmarks/bench_external_runs.py [--launches 10000]

Each launch has two reports with a materialization and a check, in files of this machine. Ticks are
evaluated as the daemon evaluates them; storing the events is the daemon's and is told apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from dagster_metaflow import build_external_runs_sensor
from dagster_metaflow.reports import AssetReport, Check, Materialization, write_report

FLOW = "BenchFlow"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--launches", type=int, default=10_000)
    launches = options.parse_args().launches
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        lake = Path(folder) / "lake"
        _fill(lake, launches)
        _measure(instance, lake, launches)


def _measure(instance: dg.DagsterInstance, lake: Path, launches: int) -> None:
    sensor = build_external_runs_sensor(ledger_root=str(lake), most_events=500)
    cursor = None
    print(f"{launches} launches, {2 * launches} reports; seconds")
    first, cursor = _tick(sensor, instance, cursor, "first tick of a backlog, 500 events")
    _, cursor = _tick(sensor, instance, cursor, "second tick of a backlog")
    everything = build_external_runs_sensor(ledger_root=str(lake), most_events=10**9)
    while True:
        count, cursor = _tick(everything, instance, cursor, "the rest of the backlog")
        if not count:
            break
    for _ in range(3):
        _tick(sensor, instance, cursor, "nothing new")
    _publish(lake, "new")
    _tick(sensor, instance, cursor, "one new launch")
    count, _ = _tick(sensor, instance, None, "cursor lost: all looked up in the event log")
    print(f"cursor: {len(cursor or '')} characters; first tick gave {first} events")


def _tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None, what: str
) -> tuple[int, str | None]:
    began = time.perf_counter()
    data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    evaluated = time.perf_counter()
    for event in data.asset_events:
        instance.report_runless_asset_event(event)
    stored = time.perf_counter()
    count = len(data.asset_events)
    print(f"  {what}: {evaluated - began:.2f} ({count} events, stored in {stored - evaluated:.2f})")
    return count, data.cursor


def _fill(lake: Path, launches: int) -> None:
    """Copies of one report under other names: writing them all one by one takes minutes."""
    _publish(lake, "0")
    made = {f.name: f.read_bytes() for f in (lake / "_reports" / FLOW / "0").iterdir()}
    for number in range(1, launches):
        folder = lake / "_reports" / FLOW / str(number)
        folder.mkdir()
        for name, data in made.items():
            report = AssetReport.model_validate_json(data)
            own = {"launch_id": str(number), "written": datetime.now(UTC)}
            text = report.model_copy(update=own).model_dump_json()
            (folder / name).write_text(text, encoding="utf-8")


def _publish(lake: Path, launch: str) -> None:
    for asset in ("first", "second"):
        made = [Materialization(data_version="v", metadata={"rows": 3, "auc": 0.5})]
        checks = [Check(name="fine", passed=True)]
        write_report(str(lake), FLOW, launch, [asset], made, checks, run=f"{FLOW}/{launch}/start/1")


if __name__ == "__main__":
    main()

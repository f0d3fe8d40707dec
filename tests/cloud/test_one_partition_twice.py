"""Two processes of Dagster launch one partition at the same time, on a lakehouse in S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aws import BUCKET, LocalAws
from s3fs import S3FileSystem

from dagster_metaflow.ledger import RECORD, LaunchRecord
from dagster_metaflow.reports import read_reports
from fraud_mlops.lakehouse.partitions import Lakehouse

pytestmark = pytest.mark.flow
PROGRAM = Path(__file__).with_name("one_partition.py")
DATASET, MONTH, FLOW = "synthetic_claims", "2024-03", "IngestFlow"


@pytest.fixture
def signed_in(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """This process reads the lakehouse."""
    S3FileSystem.clear_instance_cache()  # clients of servers that are gone
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    yield aws
    S3FileSystem.clear_instance_cache()


def both(backend: str, lake: str, seeds: tuple[int, int], folder: Path) -> list[dict[str, Any]]:
    """What either process tells at its end. seeds: of its claims."""
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    recorded(folder)  # so that the instance is there: two that make its tables spoil them
    home = {"DAGSTER_HOME": str(folder), "METAFLOW_HOME": str(folder), "METAFLOW_USER": "both"}
    processes = []
    for number, seed in enumerate(seeds):
        place = folder / str(number)
        (place / ".metaflow").mkdir(parents=True)  # else Metaflow looks for one in folders above
        with (place / "log").open("w") as log:
            command = [sys.executable, PROGRAM, backend, lake, MONTH, str(seed)]
            processes.append(
                subprocess.Popen(
                    command,
                    cwd=place,
                    env={**os.environ, **home},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            )
    try:
        told = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.terminate()
            process.wait(timeout=60)
    logs = [(folder / str(number) / "log").read_text()[-4000:] for number in range(len(seeds))]
    assert [process.returncode for process in processes] == [0, 0], logs
    return [json.loads(text.splitlines()[-1]) for text in told]


def recorded(folder: Path) -> tuple[dict[str, dg.DagsterRunStatus], list[str]]:
    """Runs of Dagster's, and those that have materialized the asset."""
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        runs = {run.run_id: run.status for run in instance.get_runs()}
        made = instance.fetch_materializations(dg.AssetKey([DATASET, "raw_zone"]), limit=9)
    return runs, [record.run_id for record in made.records]


# Claims of two seeds are others; with one seed the two launches are of the very same thing.
@pytest.mark.parametrize(("backend", "seeds"), [("step_functions", (7, 8)), ("batch", (7, 7))])
def test_each_run_tells_of_its_own_and_the_partition_is_that_of_one(
    signed_in: LocalAws, tmp_path: Path, backend: str, seeds: tuple[int, int]
) -> None:
    lake = f"s3://{BUCKET}/twice-on-{backend}"
    told = both(backend, lake, seeds, tmp_path)
    assert [one["failures"] for one in told] == [[], []]
    versions = [one["versions"][MONTH] for one in told]
    assert len(set(versions)) == len(set(seeds))
    if backend == "step_functions":
        assert signed_in.calls()["states:TagResource"] == 1  # deployed once

    stored = Lakehouse(lake)
    (partition,) = stored.partitions("raw", DATASET)
    stored.verify(partition)
    assert partition.data_version in versions

    objects = signed_in.objects(f"twice-on-{backend}/")
    records = [
        LaunchRecord.model_validate_json(text)
        for key, text in objects.items()
        if key.endswith(f"/{RECORD}")
    ]
    assert len({record.launch_id for record in records}) == 2
    assert len({record.run_id for record in records}) == 2
    assert {record.outcome for record in records} == {"succeeded"}
    launched = {record.dagster_run_id: record.launch_id for record in records}
    for one in told:
        (report,) = read_reports(lake, FLOW, launched[one["run"]])
        assert one["versions"][MONTH] in report.model_dump_json()

    runs, makers = recorded(tmp_path)
    assert runs == dict.fromkeys((one["run"] for one in told), dg.DagsterRunStatus.SUCCESS)
    assert sorted(makers) == sorted(runs)

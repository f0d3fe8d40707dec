"""Partitions, ranges and backends: what reaches the run, and what is refused before."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_partition_reaches_the_run(launch: Launch, runs: Any) -> None:
    done = launch("monthly_job", "--partition", "2024-03", "--backend", "local", "--tag", "who=one")
    assert done.returncode == 0, done.stderr
    assert "monthly [2024-03]  materialized" in done.stdout
    tags = runs(who="one")[0]["tags"]
    assert tags["dagster/partition"] == "2024-03"
    assert tags["dagster_metaflow/backend"] == "local"


def test_a_range_is_a_single_run(launch: Launch, runs: Any) -> None:
    done = launch("monthly_job", "--partition-range", "2024-02", "2024-04", "--tag", "who=range")
    assert done.returncode == 0, done.stderr
    for month in ("2024-02", "2024-03", "2024-04"):
        assert f"monthly [{month}]  materialized" in done.stdout
    assert len(runs(who="range")) == 1


def test_partitions_of_a_range_are_told_and_counted_once(launch: Launch) -> None:
    done = launch("ranged_job", "--partition-range", "2024-01", "2024-05")
    assert done.returncode == 0, done.stderr
    assert "ranged_job succeeded: 1 step, 5 materializations, 0 checks" in done.stdout
    rows = re.findall(r"materialized: (?:rows )?(\d+)", done.stdout)
    assert sum(map(int, rows)) == 50, done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["monthly_job"], "add --partition, from 2024-01 to 2024-06"),
        (
            ["monthly_job", "--partition", "2024-07"],
            "Near it: 2024-03, 2024-04, 2024-05, 2024-06; there are 6, from 2024-01 to 2024-06",
        ),
        (["monthly_job", "--partition-range", "2024-04", "2024-02"], "2024-04 comes after 2024-02"),
        (["quick_job", "--partition", "2024-01"], "quick_job has no partitions"),
    ],
)
def test_what_is_no_partition_is_said_before_anything_runs(
    launch: Launch, runs: Any, arguments: list[str], said: str
) -> None:
    done = launch(*arguments, "--tag", "who=refused")
    assert done.returncode == 2
    assert said in done.stderr
    assert not runs(who="refused")


def test_one_partition_has_one_writer_at_a_time(launch: Launch, runs: Any) -> None:
    for _ in range(2):
        launch("monthly_job", "--partition", "2024-05", "--no-wait", "--tag", "who=writer")
    last = launch("monthly_job", "--partition", "2024-05", "--tag", "who=writer")
    assert last.returncode == 0, last.stderr
    spans = sorted((run["startTime"], run["endTime"]) for run in runs(who="writer"))
    assert len(spans) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))

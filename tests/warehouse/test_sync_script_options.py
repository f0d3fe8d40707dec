"""Which datasets and partitions scripts/sync_metrics_to_snowflake.py takes, by what is typed."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from warehouse_kit import MONTHS, Lake, kpis

RANGES = {
    ("2024-13", "2024-14"): "motor: partition '2024-13' is no month; write it as 2024-01",
    ("2024-06", "2024-04"): "motor: partitions 2024-06 to 2024-04: the last comes before the first",
    ("2024-04-01", "2024-04-30"): "motor: partition '2024-04-01' is no month",
    ("1999-01", "1999-12"): "no metrics from 1999-01 to 1999-12, only from 2024-04 to 2024-06",
}


@pytest.mark.parametrize("asked", RANGES)
def test_a_range_that_names_no_partitions_is_told_and_moves_nothing(
    run: Callable[..., tuple[int, str]], lake: Lake, asked: tuple[str, str]
) -> None:
    code, told = run("--partition-range", *asked)
    assert code == 1
    assert RANGES[asked] in told
    assert "rows" not in told


def test_a_range_is_of_each_datasets_own_periods(
    run: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    lake.put("2024-04-03", kpis(7, 2, 2, 1), key="day", dataset="parcels")
    lake.put("copy", [])
    code, told = run("--partition-range", "2024-5", "2024-12")
    assert "motor: 2 of 2 partitions moved" in told
    assert (code, "parcels: partition '2024-5' is no day" in told) == (1, True)
    assert "parcels: 1 of 1" in run("--partition-range", "2024-04-01", "2024-04-30")[1]


USELESS = {
    ("--check", "--force"): "--check writes nothing; leave out --force",
    ("--check", "--prune"): "--check writes nothing; leave out --prune",
    ("--prune", "--partition-range", *MONTHS[:2]): "--prune is of all partitions that are gone",
}


@pytest.mark.parametrize("arguments", USELESS)
def test_options_that_do_not_go_together_are_told(
    run: Callable[..., tuple[int, str]], arguments: tuple[str, ...]
) -> None:
    code, told = run(*arguments)
    assert (code, "Error: " + USELESS[arguments] in told) == (1, True)


def test_what_holds_no_partition_is_no_dataset(
    run: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    """A folder that expiry has emptied, and a desktop's own file."""
    lake.put(MONTHS[0], kpis(7, 2, 2, 1), dataset="parcels")
    run()
    zone = lake.root / "metrics"
    shutil.rmtree(zone / "parcels" / f"month={MONTHS[0]}")
    (zone / ".DS_Store").write_bytes(b"")
    code, told = run()
    assert (code, "--prune --dataset parcels removes" in told) == (0, True)
    assert run("--prune", "--dataset", "parcels")[0] == 0
    assert run()[0] == run("--check")[0] == 0

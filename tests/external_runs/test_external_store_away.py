"""A store that does not answer costs a tick, and no run that is to be recorded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from external_kit import Daemon, materializations, publish
from s3_kit import KEYS, ONCE, ROOT, S3, s3, silence

from dagster_metaflow import build_external_runs_sensor, sensors
from dagster_metaflow.listing import read_files


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3(monkeypatch) as made:
        yield made


def test_a_tick_without_its_store_is_skipped_and_the_next_one_goes_on(
    store: S3, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(build_external_runs_sensor(ledger_root=ROOT), instance)
    publish(ROOT, "1")
    daemon.tick()
    publish(ROOT, "2")
    before = daemon.cursor
    store.stop()
    assert daemon.tick() == []
    assert daemon.cursor == before
    said = daemon.said[-1]
    words = f"The ledger under {ROOT} cannot be looked at: Could not connect to the endpoint URL"
    assert said.startswith(words)
    assert "the next tick goes on from here" in said
    assert "see whether the store is up" in said
    store.start()
    daemon.tick()
    assert materializations(instance) == ["1", "2"]


def test_a_silent_store_is_skipped_in_time_and_an_address_keeps_its_secret(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_METAFLOW_STORE_SECONDS", "0.3")
    root = "s3://silent/lake?sig=hidden"
    with silence() as address:
        for name, value in {**KEYS, **ONCE, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        sensor = build_external_runs_sensor(ledger_root=root)
        daemon = Daemon(sensor, instance)
        assert daemon.tick() == []
    assert "no answer in 0.3 s" in daemon.said[0]
    assert "hidden" not in daemon.said[0]
    assert "hidden" not in str(sensor.description)


def test_a_store_that_nobody_can_open_is_a_skipped_tick(instance: dg.DagsterInstance) -> None:
    daemon = Daemon(build_external_runs_sensor(ledger_root="moon://lake"), instance)
    assert daemon.tick() == []
    assert "moon://lake cannot be looked at: Protocol not known: moon" in daemon.said[0]


def test_what_came_after_a_report_that_is_slow_waits_with_it(
    lake: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Dagster's latest materialization would be of older content."""
    for launch in ("1", "2", "3"):
        publish(lake, launch)

    def slow(*asked: Any) -> list[bytes | OSError | None]:
        first, _, last = read_files(*asked)
        return [first, TimeoutError("no answer in 30 s"), last]

    with monkeypatch.context() as hurried:
        hurried.setattr(sensors, "read_files", slow)
        daemon.tick()
    assert materializations(daemon.instance) == ["1"]
    assert "2 are left for the next tick" in daemon.said[-1]
    daemon.tick()
    assert materializations(daemon.instance) == ["1", "2", "3"]


def test_what_is_not_read_in_the_time_of_a_tick_comes_with_the_next(
    lake: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    for launch in ("1", "2"):
        publish(lake, launch)
    with monkeypatch.context() as hurried:
        hurried.setattr(sensors, "read_files", partial(read_files, seconds=-1.0))
        assert daemon.tick() == []
    assert "2 are left for the next tick" in daemon.said[0]
    daemon.tick()
    assert materializations(daemon.instance) == ["1", "2"]

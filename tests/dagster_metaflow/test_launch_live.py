"""While a run goes on, Dagster shows what it has published, what it says, and where it is."""

from __future__ import annotations

import threading
from datetime import datetime

import dagster as dg
import pytest
from toy_kit import Finished, Toy, materialized, told, wait_for

pytestmark = pytest.mark.flow


def test_an_asset_is_materialized_while_its_run_still_goes_on(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    toy.hold("work")
    results: list[dg.ExecuteInProcessResult] = []
    thread = threading.Thread(target=lambda: results.append(toy.materialize(instance=instance)))
    thread.start()
    try:
        # The flow waits for a file to go; it goes only once Dagster shows the first asset.
        wait_for(lambda: materialized(instance, "first"), "the first asset")
        assert not materialized(instance, "second")
        assert not results
    finally:
        toy.release("work")
        thread.join(60)
    assert results[0].success
    assert len(materialized(instance, "first")) == len(materialized(instance, "second")) == 1


def test_from_a_report_to_its_event_it_takes_less_than_two_seconds(finished: Finished) -> None:
    for name in ("first", "second"):
        (record,) = materialized(finished.instance, name)
        assert 0 <= record.timestamp - told(record)["published"] < 2


def test_steps_and_the_run_stand_in_the_event_log(finished: Finished) -> None:
    said = [entry.message for entry in finished.instance.all_logs(finished.result.run_id)]
    steps = [text for text in said if text.startswith("ToyFlow: step")]
    assert steps == [
        "ToyFlow: step start (1 of 4)",
        "ToyFlow: step work (2 of 4)",
        "ToyFlow: step join (3 of 4)",
        "ToyFlow: step end (4 of 4)",
    ]
    (run,) = finished.toy.metaflow_runs
    assert f"Metaflow run ToyFlow/{run}" in said


def test_log_lines_of_the_run_are_the_output_of_the_op(finished: Finished) -> None:
    manager = finished.instance.compute_log_manager
    (captured,) = [
        entry.dagster_event.logs_captured_data
        for entry in finished.instance.all_logs(finished.result.run_id)
        if entry.dagster_event and entry.dagster_event.event_type_value == "LOGS_CAPTURED"
    ]
    key = [finished.result.run_id, "compute_logs", captured.file_key]
    text = (manager.get_log_data(key).stdout or b"").decode()
    for part in range(3):
        assert f"toy works on part {part}" in text
    assert text.rstrip().endswith("Done!")


def test_the_run_and_dagster_name_each_other(finished: Finished) -> None:
    (run,) = finished.toy.metaflow_runs
    dagster_run = finished.instance.get_run_by_id(finished.result.run_id)
    assert dagster_run is not None
    assert dagster_run.tags["metaflow/ToyFlow"] == f"ToyFlow/{run}"
    tags = finished.toy.metaflow_tags(run)
    assert {f"dagster_run_id:{dagster_run.run_id}", "asset:first", "asset:second"} <= tags


def test_every_materialization_says_where_it_comes_from(finished: Finished) -> None:
    (run,) = finished.toy.metaflow_runs
    (record,) = materialized(finished.instance, "second")
    metadata = told(record)
    assert metadata["metaflow_run"].startswith(f"ToyFlow/{run}/join/")
    assert metadata["dagster/row_count"] == 3
    assert metadata["backend"] == "local"
    assert metadata["parameters"]["size"] == 3
    assert metadata["launch_id"] == finished.toy.launches[0].launch_id
    assert datetime.now().astimezone().timestamp() > record.timestamp


def test_a_run_that_ended_leaves_no_process_and_nothing_to_go_on_with(finished: Finished) -> None:
    assert finished.toy.processes() == []
    (launch,) = finished.toy.launches
    assert launch.outcome == "succeeded"
    assert not list((finished.toy.lake / "_launches" / "ToyFlow").glob("*/*"))

"""What an operator reads when a run fails, and what a retry does about it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from toy_kit import Toy, failure, materialized

from dagster_metaflow import MetaflowFlow

FAILURE = "dagster._core.definitions.events.Failure: "
pytestmark = pytest.mark.flow


def test_a_failed_step_says_where_why_and_how_to_go_on(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    toy.fail("join", times=9)
    result = toy.materialize(instance=instance)
    [run] = toy.metaflow_runs
    said = failure(result).splitlines()
    assert (
        said[0].removeprefix(FAILURE) == f"ToyFlow failed in ToyFlow/{run}/join/4 (exit status 1)."
    )
    assert "ValueError: the toy breaks in join" in said
    assert said[1] == "Cause: ValueError: the toy breaks in join"
    assert said[2] == (
        "Re-execute from failure to resume it: steps that finished are not run again."
    )
    [log] = [line.removeprefix("log: ") for line in said if line.startswith("log: ")]
    assert "the toy breaks in join" in Path(log).read_text()


def test_it_leads_to_the_run_by_its_metadata(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.fail("join", times=9)
    data = toy.materialize(instance=instance).failure_data_for_node("toy")
    assert data is not None
    assert data.user_failure_data is not None
    [run], [launch] = toy.metaflow_runs, toy.launches
    shown = {name: value.value for name, value in data.user_failure_data.metadata.items()}
    log = str(Path(launch.handle["folder"]) / "log")
    assert shown == {
        "metaflow_run": f"ToyFlow/{run}",
        "launch_id": launch.launch_id,
        "log": log,
    }


def test_what_was_published_before_the_failure_stays_recorded(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    toy.fail("work", times=9)
    assert not toy.materialize(instance=instance).success
    assert len(materialized(instance, "first")) == 1
    assert not materialized(instance, "second")


def test_dagsters_retry_policy_resumes_and_runs_finished_steps_once(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    toy.fail("join")
    assets = toy.assets(retry_policy=dg.RetryPolicy(max_retries=2))
    result = toy.materialize(instance=instance, assets=assets)
    assert result.success
    assert toy.steps_run == {"start": 1, "work": 2, "join": 2, "end": 1}
    assert toy.published == {"first None": 1, "second None": 1}
    assert len(materialized(instance, "second")) == 1
    [launch] = toy.launches
    assert [*launch.run_ids] == toy.metaflow_runs
    command = (Path(launch.handle["folder"]) / "log").read_text().splitlines()[0]
    assert " resume " in command
    assert f" --origin-run-id={launch.run_ids[0]}" in command


def test_a_later_materialization_starts_afresh(toy: Toy, instance: dg.DagsterInstance) -> None:
    """A failure that one has seen and walked away from is not what one asks for tomorrow."""
    toy.fail("join")
    assert not toy.materialize(instance=instance).success
    assert toy.materialize(instance=instance).success
    assert toy.steps_run["start"] == 2
    assert len(toy.launches) == 2


def test_a_run_that_takes_too_long_is_ended(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.hold("work")
    result = toy.materialize(instance=instance, resource=toy.resource(timeout_seconds=2.5))
    assert "took longer than timeout_seconds = 2.5 and was ended" in failure(result)
    assert not toy.processes()


def test_what_a_step_leaves_running_ends_with_the_run(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    toy.tell("daemon")
    assert toy.materialize(instance=instance).success
    assert not toy.processes()


def test_a_flow_that_does_not_even_start_says_so(toy: Toy, instance: dg.DagsterInstance) -> None:
    resource = toy.resource(local={"options": ["--no-such-option"]})
    said = failure(toy.materialize(instance=instance, resource=resource))
    assert "no such option: --no-such-option" in said.lower()
    assert "No step was begun." in said


def test_a_ledger_that_cannot_be_written_is_said_before_anything_starts(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    (toy.folder / "file").touch()
    resource = toy.resource(ledger_root=str(toy.folder / "file" / "lake"))
    said = failure(toy.materialize(instance=instance, resource=resource))
    assert "Correct the resource's ledger_root" in said
    assert not toy.metaflow_runs


def test_an_unknown_backend_is_named_with_those_there_are(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    result = toy.materialize(instance=instance, tags={"dagster_metaflow/backend": "moon"})
    said = failure(result)
    assert "There is no backend 'moon'; this resource has batch, databricks, local, step_" in said


def test_a_flow_that_cannot_be_loaded_says_how_to_see_for_oneself(tmp_path: Path) -> None:
    broken = tmp_path / "broken_flow.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(dg.DagsterInvalidDefinitionError) as refused:
        _ = MetaflowFlow(broken).steps
    assert "No module named 'nothing_of_that_name'" in str(refused.value)
    assert f"{broken} show" in str(refused.value)

"""A flow is deployed when its code has changed; a failed run goes on under the code of today."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from aws import KEY, LocalAws
from shell_kit import StepFunctionsStage

from dagster_metaflow.backends import sfn_deployment, sfn_start
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import Handle, LaunchError, RunState

pytestmark = pytest.mark.flow


@pytest.fixture
def stage(aws: LocalAws, tmp_path: Path) -> StepFunctionsStage:
    return StepFunctionsStage(aws, tmp_path)


def deployments(stage: StepFunctionsStage) -> int:
    """As many as notes of what has been deployed."""
    return stage.aws.calls()["states:TagResource"]


def execution(stage: StepFunctionsStage, handle: Handle) -> str:
    machine = Aws(stage.environment()).machine_arn("ShellFlow")
    return f"{machine.replace(':stateMachine:', ':execution:')}:{handle['execution']}"


def failed(stage: StepFunctionsStage) -> tuple[str, str]:
    """A run whose second step has failed: its id, and its execution."""
    stage.fail_once()
    handle = stage.launched()
    status = stage.ended(handle)
    assert status.state is RunState.FAILED
    assert "step work" in str(status.reason)
    return str(status.run_id), execution(stage, handle)


def test_it_is_deployed_once_for_the_same_code(stage: StepFunctionsStage) -> None:
    for _ in range(2):
        assert stage.ended(stage.launched()).state is RunState.SUCCEEDED
    assert deployments(stage) == 1
    stage.code_version = "changed"
    stage.ended(stage.launched())
    assert deployments(stage) == 2


def test_what_somebody_else_has_deployed_is_not_taken_for_ours(stage: StepFunctionsStage) -> None:
    stage.ended(stage.launched())
    states, arn = (
        stage.aws.client("stepfunctions"),
        Aws(stage.environment()).machine_arn("ShellFlow"),
    )
    states.update_state_machine(
        stateMachineArn=arn,
        definition='{"StartAt": "x", "States": {"x": {"Type": "Pass", "End": true}}}',
    )
    stage.ended(stage.launched())
    assert deployments(stage) == 2
    assert Counter(stage.executed()) == {"start": 2, "work": 2, "end": 2}


def change(stage: StepFunctionsStage) -> None:
    """Other code than has run, which makes another definition."""
    stage.ended(stage.launched())
    stage.code_version, stage.variables["SHELL_TIMEOUT"] = "changed", "500"


def test_what_still_runs_the_old_definition_is_stopped_and_started_again(
    stage: StepFunctionsStage,
) -> None:
    change(stage)
    stage.aws.start_stale(1)
    handle = stage.launched()
    status = stage.ended(handle)
    assert (status.state, status.run_id) == (RunState.SUCCEEDED, f"sfn-{handle['execution']}")
    states, arn = stage.aws.client("stepfunctions"), execution(stage, handle)
    ran = states.describe_state_machine_for_execution(executionArn=arn)["definition"]
    assert json.loads(ran)["TimeoutSeconds"] == 500
    told = states.describe_execution(executionArn=arn.removesuffix("-1"))
    assert (told["status"], told["cause"]) == ("ABORTED", "not the definition that was deployed")


def test_a_machine_that_others_deploy_all_the_time_is_given_up(
    stage: StepFunctionsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sfn_start, "PAUSE_SECONDS", 0.0)
    change(stage)
    stage.aws.start_stale(5)
    backend, request = stage.backend(), stage.request()
    prepared = backend.prepare(request)
    with pytest.raises(LaunchError, match="Does somebody else deploy it now"):
        backend.launch(request, prepared)
    # There is nothing that a retry could go on with: it starts anew.
    status = backend.poll(prepared)
    assert (status.state, status.run_id) == (RunState.LOST, None)
    backend.cancel(prepared)
    machine = Aws(stage.environment()).machine_arn("ShellFlow")
    states = stage.aws.client("stepfunctions")
    assert not states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]


def changed(stage: StepFunctionsStage) -> None:
    """A run of the flow as it was, and the next one, held, of an old definition."""
    change(stage)
    stage.aws.start_stale(1)
    stage.hold()


def test_what_was_started_again_is_followed_and_cancelled_though_nobody_came_to_note_it(
    stage: StepFunctionsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sfn_start, "PAUSE_SECONDS", 0.0)
    changed(stage)
    backend, request = stage.backend(), stage.request()
    prepared = backend.prepare(request)
    made = backend.launch(request, prepared)
    assert made["execution"] == f"{prepared['execution']}-1"
    assert backend.poll(prepared).run_id == f"sfn-{made['execution']}"
    backend.cancel(prepared)
    assert stage.ended(prepared).state is RunState.CANCELLED
    stage.wait_for_no_job(made["execution"])


def unseen(stage: StepFunctionsStage) -> tuple[Handle, Handle]:
    """A run of an old definition of which AWS did not tell that it is one: its handle as it was
    prepared, and as it was started."""
    changed(stage)
    stage.aws.fail("states", "DescribeStateMachineForExecution", "AccessDeniedException", key=KEY)
    backend, request = stage.backend(), stage.request()
    prepared = backend.prepare(request)
    return prepared, backend.launch(request, prepared)


def test_an_old_definition_that_nobody_came_to_stop_is_not_gone_on_with(
    stage: StepFunctionsStage,
) -> None:
    prepared, made = unseen(stage)
    status = stage.backend().poll(prepared)
    assert (status.state, status.run_id) == (RunState.LOST, None)
    stage.backend().cancel(prepared)  # as a launch does with what it does not go on with
    assert stage.ended(made).state is RunState.CANCELLED
    stage.wait_for_no_job(made["execution"])


def test_an_old_definition_is_not_redriven_but_started_anew(stage: StepFunctionsStage) -> None:
    _, made = unseen(stage)
    stage.fail_once()
    stage.release()
    failure = stage.ended(made)
    assert failure.state is RunState.FAILED
    handle = stage.resumed(failure.run_id)
    status = stage.ended(handle)
    assert status.state is RunState.SUCCEEDED
    assert status.run_id != failure.run_id
    assert stage.log(handle)[0].startswith("A new execution, since AWS ran another definition")


def test_a_definition_that_aws_shows_late_is_taken_for_the_one_deployed(
    stage: StepFunctionsStage,
) -> None:
    change(stage)
    stage.aws.look_late(3)
    assert stage.ended(stage.launched()).state is RunState.SUCCEEDED
    assert stage.aws.calls(KEY)["states:StopExecution"] == 0
    stage.ended(stage.launched())
    assert deployments(stage) == 2


def test_the_definition_from_before_is_not_taken_for_the_one_deployed(
    stage: StepFunctionsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sfn_deployment, "_LATE_SECONDS", 0.0)
    change(stage)
    stage.aws.look_late(25)
    with pytest.raises(LaunchError, match="does not show the state machine as it was deployed"):
        stage.launched()
    assert deployments(stage) == 1


def limit(stage: StepFunctionsStage, handle: Handle) -> int:
    """By which the definition is told that an execution ran."""
    ran = stage.aws.client("stepfunctions").describe_state_machine_for_execution(
        executionArn=execution(stage, handle)
    )
    return int(json.loads(ran["definition"])["TimeoutSeconds"])


def test_what_somebody_else_deploys_meanwhile_is_not_taken_for_ours(
    stage: StepFunctionsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sfn_deployment, "_LATE_SECONDS", 0.0)
    change(stage)
    stage.variables["SHELL_OVERTAKEN"] = "other code"
    with pytest.raises(LaunchError, match="Does somebody else deploy it now"):
        stage.launched()
    del stage.variables["SHELL_OVERTAKEN"]
    handle = stage.launched()
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert limit(stage, handle) == 500


def test_what_another_host_deploys_of_the_same_code_is_as_good(stage: StepFunctionsStage) -> None:
    """Metaflow makes another definition of it each time."""
    change(stage)
    stage.variables["SHELL_OVERTAKEN"] = "the same code"
    stage.aws.start_stale(1)
    handle = stage.launched()
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert limit(stage, handle) == 500  # of the two, AWS took the one that is not noted
    assert stage.aws.calls(KEY)["states:StopExecution"] == 0


def test_two_launches_at_once_deploy_once_and_are_two_runs(stage: StepFunctionsStage) -> None:
    with ThreadPoolExecutor(2) as pool:
        handles = [one.result() for one in [pool.submit(stage.launched) for _ in range(2)]]
    statuses = [stage.ended(handle) for handle in handles]
    assert [status.state for status in statuses] == [RunState.SUCCEEDED] * 2
    assert statuses[0].run_id != statuses[1].run_id
    assert deployments(stage) == 1


def test_a_start_whose_answer_was_lost_is_no_second_run(stage: StepFunctionsStage) -> None:
    backend, request = stage.backend(), stage.request()
    handle = backend.prepare(request)
    backend.launch(request, handle)
    again = backend.launch(request, handle)  # the same note of the same launch
    assert stage.ended(again).state is RunState.SUCCEEDED
    assert Counter(stage.executed()) == {"start": 1, "work": 1, "end": 1}


def test_a_start_that_nobody_came_to_note_is_found(stage: StepFunctionsStage) -> None:
    backend, request = stage.backend(), stage.request()
    prepared = backend.prepare(request)
    backend.launch(request, prepared)
    assert stage.ended(prepared).state is RunState.SUCCEEDED


def test_a_failed_run_is_redriven_in_the_same_run(stage: StepFunctionsStage) -> None:
    run_id, _ = failed(stage)
    handle = stage.resumed(run_id)
    status = stage.ended(handle)
    assert (status.state, status.run_id) == (RunState.SUCCEEDED, run_id)
    assert Counter(stage.executed()) == {"start": 1, "work": 2, "end": 1}
    # Its log begins with it, after one line for each task that is not run again.
    (before,) = [line for line in stage.log(handle) if "/start/" in line]
    assert before == stage.log(handle)[0]
    assert before.endswith("] Task finished successfully.")


def test_after_two_weeks_it_is_resumed_by_metaflow(stage: StepFunctionsStage) -> None:
    run_id, arn = failed(stage)
    stage.aws.age(arn, 15)
    handle = stage.resumed(run_id)
    status = stage.ended(handle)
    assert status.state is RunState.SUCCEEDED
    assert status.run_id != run_id
    assert Counter(stage.executed()) == {"start": 1, "work": 2, "end": 1}
    assert any("exceeded the redrivable period of 14 days" in line for line in stage.log(handle))


def test_after_three_months_it_still_is_though_the_execution_is_gone(
    stage: StepFunctionsStage,
) -> None:
    run_id, arn = failed(stage)
    stage.aws.age(arn, 91)
    handle = stage.resumed(run_id)
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert Counter(stage.executed()) == {"start": 1, "work": 2, "end": 1}
    assert any("AWS has its execution no more" in line for line in stage.log(handle))


@pytest.mark.parametrize("code", ["ValidationException", "StateMachineDeleting"])
def test_whatever_aws_refuses_a_redrive_for_it_is_resumed(
    stage: StepFunctionsStage, code: str
) -> None:
    run_id, _ = failed(stage)
    stage.aws.fail("states", "RedriveExecution", code)
    handle = stage.resumed(run_id)
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert Counter(stage.executed()) == {"start": 1, "work": 2, "end": 1}


def test_under_changed_code_it_is_resumed_by_metaflow(stage: StepFunctionsStage) -> None:
    run_id, _ = failed(stage)
    stage.code_version = "mended"
    handle = stage.resumed(run_id)
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert Counter(stage.executed()) == {"start": 1, "work": 2, "end": 1}
    assert any("since code, or what it is deployed with" in line for line in stage.log(handle))


def test_or_started_anew_where_one_wants_that(stage: StepFunctionsStage) -> None:
    run_id, _ = failed(stage)
    stage.code_version = "mended"
    handle = stage.resumed(run_id, when_not_redriven="restart")
    status = stage.ended(handle)
    assert status.state is RunState.SUCCEEDED
    assert str(status.run_id).startswith("sfn-")
    assert status.run_id != run_id
    assert Counter(stage.executed()) == {"start": 2, "work": 2, "end": 1}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("$(touch here)", "may hold no [$]"),
        ("a`b`", "may hold no [$]"),
        ("s3://bucket/Zürich", "no letter beyond ASCII"),
        ("two\nlines", "no line break"),
        ("a\ttab", "no tab"),
        ("x" * 8_000, "step start: .* characters, and AWS Batch takes 8,192"),
    ],
)
def test_values_that_tasks_cannot_take_are_refused(
    stage: StepFunctionsStage, value: str, words: str
) -> None:
    backend = stage.backend()
    request = replace(stage.request(), parameters={"word": value})
    with pytest.raises(LaunchError, match=words):
        backend.launch(request, backend.prepare(request))


def test_a_flow_that_cannot_be_deployed_says_why(stage: StepFunctionsStage) -> None:
    stage.variables["SHELL_TIMEOUT"] = "never"
    with pytest.raises(LaunchError, match=r"cannot be deployed(.|\n)*invalid literal for int"):
        stage.launched()

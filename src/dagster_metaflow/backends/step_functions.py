"""Runs on AWS Step Functions: a flow is deployed once, and started as an execution.

A Metaflow run there is `sfn-<name of the execution>`. The name, and the few that may follow it when
AWS starts an old definition, are settled before the start, so that whatever happens the run is
found again, from any machine. A failed execution is redriven: it goes on from the failed state in
the same run. When AWS refuses that, or the flow's code or what it is deployed with has changed, the
run is resumed by Metaflow's own scheduler with its steps on Batch.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import said
from dagster_metaflow.backends.batch import BatchBackend
from dagster_metaflow.backends.copied_log import Noted, append, read_lines
from dagster_metaflow.backends.local import seen_from_here
from dagster_metaflow.backends.looks import Followers, Pace
from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    RunState,
    RunStatus,
    UsageError,
)
from dagster_metaflow.backends.sfn_deployment import Deployer
from dagster_metaflow.backends.sfn_following import Follower
from dagster_metaflow.backends.sfn_history import History
from dagster_metaflow.backends.sfn_input import (
    execution_input,
    parameters_given,
    refuse_what_does_not_fit,
)
from dagster_metaflow.backends.sfn_redrive import history_of, redriven
from dagster_metaflow.backends.sfn_start import (
    LONGEST_NAME,
    described,
    execution_arn,
    found_again,
    is_meant,
    queues_of,
    started,
)
from dagster_metaflow.backends.travelling import travelled

PREFIX = "sfn-"
"""What Metaflow puts before an execution's name to make a run id of it."""

_STATES = {
    "SUCCEEDED": RunState.SUCCEEDED,
    "FAILED": RunState.FAILED,
    "TIMED_OUT": RunState.FAILED,
    "ABORTED": RunState.CANCELLED,
}
_GOES_ON = ("RUNNING", "PENDING_REDRIVE", "SUCCEEDED")
_NOT_MEANT = "AWS ran another definition than the one that was deployed"


class StepFunctionsBackend(BatchBackend):
    """Deploys flows to AWS Step Functions when their code has changed, and runs them there."""

    create_options: list[str] = Field(
        default=[],
        description="Options of `step-functions create`: `--max-workers=40`, "
        "`--workflow-timeout=86400`, `--log-execution-history`, `--authorize=TOKEN`.",
    )
    state_machine: str | None = Field(
        default=None,
        description="Name of the state machine; the flow's when left out. Policies that allow "
        "machines by name, as infra/aws/stack.yaml does, want it to end in `Flow`.",
    )
    deploy_variables: list[str] = Field(
        default=[],
        description="Names of variables that flows read while they are deployed: a flow is "
        "deployed again when one has another value. METAFLOW_ variables always count.",
    )
    when_not_redriven: Literal["resume", "restart"] = Field(
        default="resume",
        description="What becomes of a failed run that AWS does not redrive, or whose code has "
        "changed: `resume` goes on with it by Metaflow's own scheduler, steps on Batch; `restart` "
        "starts a new execution.",
    )
    look_seconds: float = Field(
        default=2.0, gt=0, description="Time between two looks at AWS while something happens."
    )
    most_look_seconds: float = Field(
        default=20.0, gt=0, description="Time between two looks while nothing happens."
    )
    log_group: str = Field(
        default="/aws/batch/job", description="CloudWatch log group of the jobs."
    )
    log_lag_seconds: float = Field(
        default=5.0, ge=0, description="Time in which CloudWatch shows what a job has written."
    )
    patience_seconds: float = Field(
        default=900.0, ge=0, description="Time for which AWS may not answer before a run is left."
    )

    def prepare(self, request: LaunchRequest) -> Handle:
        if request.is_of_a_project:
            raise UsageError(
                f"{request.flow_name} has @project: Metaflow deploys it under the names of project "
                "and branch, which Dagster does not follow on Step Functions. Take @project away, "
                "or the backend `batch`."
            )
        name = re.sub(r"[^A-Za-z0-9_-]", "-", request.launch_id)
        name = f"{name[: LONGEST_NAME - 7]}-{secrets.token_hex(3)}"
        machine = self._deployer().machine(request)
        return {**super().prepare(request), "execution": name, "machine": machine}

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        request = travelled(request, self._variables)
        deployer = self._deployer()
        parameters = parameters_given(request.parameters)
        machine = deployer.deployed(request)
        given = execution_input(parameters, deployer.code(request))
        refuse_what_does_not_fit(machine.definition, given, str(handle["execution"]))
        with said("to start the execution"):
            name = started(self.aws(), machine, request.flow_name, handle["execution"], given)
        handle = {**handle, "execution": name}
        return {**handle, "started": datetime.now(UTC).isoformat()}

    # -- resuming ------------------------------------------------------------------------------

    def resume(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        if not origin_run_id.startswith(PREFIX):  # resumed by Metaflow's own scheduler before
            return self._by_metaflow(request, handle, origin_run_id)
        again = {**handle, "execution": origin_run_id.removeprefix(PREFIX)}
        history = History()
        with said("to look at the execution that failed"):
            found = described(self.aws(), self._arn(again))
            if found is not None:
                again |= {"started": found["startDate"].isoformat()}
                if found["status"] in _GOES_ON:
                    return again
                history = history_of(self.aws(), self._arn(again))
                again |= {"after": history.last}
        if (why_not := self._redriven(request, again, found, history)) is None:
            return again
        if self.when_not_redriven == "restart" or why_not == _NOT_MEANT:
            made = self.launch(request, handle)
            append(_folder(handle), Noted(), f"A new execution, since {why_not}.\n".encode())
            return made
        made = self._by_metaflow(request, handle, origin_run_id)
        words = f"Resumed by Metaflow's own scheduler with steps on AWS Batch, since {why_not}."
        self._say(handle, words)
        return made

    def _redriven(
        self,
        request: LaunchRequest,
        handle: Handle,
        found: Mapping[str, Any] | None,
        history: History,
    ) -> str | None:
        """Why it is not."""
        if found is None:
            return "AWS has its execution no more (it keeps one for 90 days after its end)"
        if not is_meant(self.aws(), self._arn(handle), found):
            return _NOT_MEANT
        ran = json.loads(found["input"]).get("CodeVersion")
        if ran != self._deployer().code(request):
            return "code, or what it is deployed with, has changed, and a redrive runs the old one"
        with said("to redrive the execution"):
            return redriven(self.aws(), self._arn(handle), request.flow_name, history)

    def _by_metaflow(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        return {**super().resume(request, handle, origin_run_id), "by": "metaflow"}

    # -- following -----------------------------------------------------------------------------

    def here(self, handle: Handle, folder: Path) -> Handle:
        return handle if _is_by_metaflow(handle) else seen_from_here(handle, folder)

    def poll(self, handle: Handle) -> RunStatus:
        if _is_by_metaflow(handle):
            return super().poll(handle)
        with said("to look at the execution"):
            follower = self._follower(handle)
            if "started" not in handle and not follower.history.last:
                found = found_again(self.aws(), self._arn(handle))
                if found is None:
                    return RunStatus(RunState.LOST, None, "it was never started")
                if not found.is_meant:
                    return RunStatus(RunState.LOST, None, _NOT_MEANT)
                handle = {**handle, "execution": found.name}
                follower = self._follower(handle)
        run_id = PREFIX + str(handle["execution"])
        follower.look()
        if not follower.is_there:
            return RunStatus(RunState.LOST, run_id, "there is no such execution any more")
        history, end = follower.history, follower.history.end
        if end is None or not follower.is_over or history.last <= follower.after:
            return RunStatus(RunState.RUNNING, run_id)
        return RunStatus(_STATES[end], run_id, history.reason)

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        if _is_by_metaflow(handle):
            return super().read_log(handle, offset)
        return read_lines(_folder(handle), offset)

    def cancel(self, handle: Handle) -> None:
        if _is_by_metaflow(handle):
            super().cancel(handle)
            return
        with said("to stop the execution"):
            client = self.aws().client("stepfunctions")
            if "started" in handle:
                found = described(self.aws(), self._arn(handle))
            elif (again := found_again(self.aws(), self._arn(handle))) is None:
                return
            else:
                handle, found = {**handle, "execution": again.name}, again.told
            # What has just been started may not be seen yet, and is stopped all the same.
            status = "RUNNING" if found is None else found["status"]
            if status == "SUCCEEDED":
                return
            if status in _GOES_ON:
                with suppress(client.exceptions.ExecutionDoesNotExist):
                    arn, why = self._arn(handle), "ended from Dagster"
                    client.stop_execution(executionArn=arn, error="Cancelled", cause=why)
            flow, name = str(handle["flow"]), str(handle["execution"])
            queues = queues_of(self.aws(), self._arn(handle))
            batch_jobs.end(self.aws(), flow, name, "ended from Dagster", queues)
            self._follower(handle).hurry()

    def links(self, handle: Handle) -> Mapping[str, str]:
        if _is_by_metaflow(handle):
            return super().links(handle)
        aws = self.aws()
        try:
            with said("to name the execution's page"):
                found = {"execution": aws.execution_page(self._arn(handle))}
                failed = self._follower(handle).history.failed
        except LaunchError:
            return {"log": str(_folder(handle) / "log")}
        if failed is not None and failed.streams:
            found["log of the failed task"] = aws.log_page(self.log_group, failed.streams[-1])
        return {**found, **self._run_page(handle, PREFIX + str(handle["execution"]))}

    # -- AWS -----------------------------------------------------------------------------------

    def _deployer(self) -> Deployer:
        decorators = [f"--with={name}" for name in self.decorators]
        workers = [] if self.max_workers is None else [f"--max-workers={self.max_workers}"]
        return Deployer(
            aws=self.aws(),
            python=self.python,
            working_directory=self.working_directory,
            environment=self.environment,
            options=[*self.options, *decorators],
            create_options=[*workers, *self.create_options],
            name=self.state_machine,
            read=self.deploy_variables,
        )

    def _arn(self, handle: Handle) -> str:
        machine = self.aws().machine_arn(str(handle["machine"]))
        return execution_arn(machine, str(handle["execution"]))

    def _follower(self, handle: Handle) -> Follower:
        key = (self._arn(handle), str(_folder(handle)))

        def make() -> Follower:
            return Follower(
                aws=self.aws(),
                arn=key[0],
                run_id=PREFIX + str(handle["execution"]),
                folder=_folder(handle),
                after=int(handle.get("after", 0)),
                group=self.log_group,
                lag=self.log_lag_seconds,
                pace=Pace(self.look_seconds, self.most_look_seconds, self.patience_seconds),
            )

        return _FOLLOWERS.of(key, make)


_FOLLOWERS = Followers[tuple[str, str], Follower]()


def _folder(handle: Handle) -> Path:
    return Path(str(handle["folder"]))


def _is_by_metaflow(handle: Handle) -> bool:
    """Resumed by Metaflow's own scheduler; also when nobody came to note it."""
    return "by" in handle or (_folder(handle) / "supervisor").exists()

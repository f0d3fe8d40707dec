"""Metaflow's own scheduler on this machine, and every step on AWS Batch."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import SIGN_IN, SIGNED_OUT, Aws, said
from dagster_metaflow.backends.copied_log import read_lines
from dagster_metaflow.backends.local import LocalBackend
from dagster_metaflow.backends.metaflow_settings import metaflow_settings, refuse_secrets
from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    MetaflowClient,
    RunState,
    RunStatus,
)
from dagster_metaflow.backends.travelling import refuse_folder, travelled

_DECORATORS = "METAFLOW_DEFAULT_DECOSPECS"
# Of Metaflow's processes here: what a task on AWS calls for itself has other credentials.
_REFUSED = re.compile(
    rf"\((?:{'|'.join(SIGNED_OUT)})\) when calling the "
    r"(?:SubmitJob|Describe(?:Jobs|JobDefinitions)|RegisterJobDefinition) operation"
)
_LAST_BYTES = 1 << 16
_QUEUE = "METAFLOW_BATCH_JOB_QUEUE"
_OWN_QUEUE = re.compile(r"\bbatch:(?:[^\s]*,)?queue=([^\s,]+)")
_JOB = re.compile(rb"\] \[([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\] Task is starting")


class BatchBackend(LocalBackend):
    """Runs flows with `--with batch`. Queue, image and roles are those of Metaflow's configuration,
    as `metaflow configure aws` or METAFLOW_ variables set it."""

    options: list[str] = Field(
        default=["--datastore=s3"], description="Options before `run`, such as `--datastore=s3`."
    )

    @property
    def _variables(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def prepare(self, request: LaunchRequest) -> Handle:
        known = self._variables
        refuse_folder(request, known)
        refuse_secrets(known)
        return {**super().prepare(request), "queues": list(request.queues)}

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        return super().launch(travelled(request, self._variables), handle)

    def resume(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        return super().resume(travelled(request, self._variables), handle, origin_run_id)

    def _start(self, request: LaunchRequest, handle: Handle, command: Sequence[str]) -> Handle:
        # Not by --with, which a resumed run does not know.
        known = {**os.environ, **self.environment, **request.environment}
        asked = str(metaflow_settings(known).get(_DECORATORS) or "").split()
        specs = [*asked, *(self.decorators if command[0] == "resume" else [])]
        if not any(spec.partition(":")[0] == "batch" for spec in specs):
            specs.append("batch")
        environment = {**request.environment, _DECORATORS: " ".join(specs)}
        return super()._start(
            dataclasses.replace(request, environment=environment), handle, command
        )

    def poll(self, handle: Handle) -> RunStatus:
        """Metaflow's process of a task outlasts no call that is refused for its credentials."""
        status = super().poll(handle)
        if status.state is RunState.FAILED and _is_signed_out(Path(str(handle["folder"]))):
            words = f"AWS takes the credentials of Metaflow's scheduler no more. {SIGN_IN}"
            return dataclasses.replace(status, reason=words.rstrip("."))
        return status

    def cancel(self, handle: Handle) -> None:
        """The scheduler ends its jobs itself; what it could not, as when it was killed, is ended
        here."""
        run_id = self.poll(handle).run_id
        super().cancel(handle)
        if run_id is not None:
            with said("to end the run's jobs"):
                flow, queues = str(handle["flow"]), self._queues(handle)
                batch_jobs.end(self.aws(), flow, run_id, "ended from Dagster", queues)

    def _queues(self, handle: Handle) -> set[str] | None:
        """Those that the run's jobs may be in: of Metaflow's configuration, of decorators, and of
        what the log names. None where Metaflow takes the first that it finds."""
        known = metaflow_settings(self._variables)
        if not known.get(_QUEUE):
            return None
        specs = " ".join([*self.decorators, str(known.get(_DECORATORS) or "")])
        asked = {*handle.get("queues", ()), *_OWN_QUEUE.findall(specs)}
        aws = self.aws()
        named = batch_jobs.queues_in(aws, _jobs_in(handle))
        return {str(known[_QUEUE]), *named, *batch_jobs.existing(aws, asked - named)}

    def aws(self) -> Aws:
        return Aws(self.environment)

    def client(self) -> MetaflowClient:
        found = super().client()
        environment = {"METAFLOW_DEFAULT_DATASTORE": "s3", **found.environment}
        return dataclasses.replace(found, environment=environment)

    def links(self, handle: Handle) -> Mapping[str, str]:
        found = dict(super().links(handle))
        with suppress(LaunchError):  # without a region there is no page
            found |= {"batch_jobs": self.aws().jobs_page()}
        return found


def _is_signed_out(folder: Path) -> bool:
    """By the last words of the log."""
    try:
        size = (folder / "log").stat().st_size
    except FileNotFoundError:
        return False
    lines, _ = read_lines(folder, max(size - _LAST_BYTES, 0), over=True)
    return any(_REFUSED.search(line) for line in lines)


def _jobs_in(handle: Handle) -> set[str]:
    """Those that the log names, as Metaflow does when it has submitted one."""
    try:
        with Path(str(handle["folder"]), "log").open("rb") as log:
            return {found[1].decode() for line in log for found in _JOB.finditer(line)}
    except FileNotFoundError:
        return set()

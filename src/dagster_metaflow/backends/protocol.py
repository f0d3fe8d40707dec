"""What a backend can do; everything above it is the same for this machine and for any cloud.

A backend keeps nothing in memory: all that it needs to find a run again, tomorrow and from another
process, stands in the run's **handle**, a JSON mapping that only the backend reads. The handle is
made before the run is started, and noted; so there is no moment in which a run goes on and nobody
could find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

Handle = Mapping[str, Any]


class RunState(Enum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The processes are gone and left no word: a machine that went away, or SIGKILL."""

    @property
    def ended(self) -> bool:
        return self is not RunState.RUNNING


@dataclass(frozen=True)
class RunStatus:
    """run_id: Metaflow's, as soon as it is known. reason: why it ended otherwise than well."""

    state: RunState
    run_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LaunchRequest:
    """One start of a flow.

    flow_file: the flow. parameters: by option; None means the flow's default.
    tags: of the Metaflow run. folder: on this machine, for logs and the like; it is made by the
    backend, and stays. environment: variables for the run, beside this process's own.
    code_version: of what a deployment of the flow holds, for backends that deploy it. inputs: files
    that the run reads as it begins, for backends whose tasks do not see this machine's.
    ledger_root: where it reports. is_of_a_project: the flow has `@project`. queues: of AWS Batch,
    that steps of the flow have for themselves.
    """

    launch_id: str
    flow_file: Path
    flow_name: str
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    code_version: str = ""
    inputs: tuple[Path, ...] = ()
    ledger_root: str = ""
    is_of_a_project: bool = False
    queues: tuple[str, ...] = ()


class Backend(Protocol):
    """Starts, follows and ends Metaflow runs somewhere."""

    def prepare(self, request: LaunchRequest) -> Handle:
        """What the run will be found by: a folder, a name, a token. Starts nothing."""

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        """Starts a run and comes back at once, with the handle and what else is known by now.

        Raises LaunchError when it cannot be started, OutOfSightError when it may have been.
        """

    def resume(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        """Starts a run that goes on where `origin_run_id` ended; finished steps are not run."""

    def poll(self, handle: Handle) -> RunStatus:
        """How the run stands now; LOST for one that was prepared and never started.

        A passing fault of a remote service is retried, not told. Raises LaunchError for a run that
        cannot be seen from here.
        """

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        """Whole lines that came after `offset`, and the offset to go on from."""

    def cancel(self, handle: Handle) -> None:
        """Ends the run and every task of it, within ten seconds; no error if it has ended.

        Raises LaunchError for a run that cannot be ended from here.
        """

    def links(self, handle: Handle) -> Mapping[str, str]:
        """Where a person can look: a log, a console page."""


@dataclass(frozen=True)
class MetaflowClient:
    """How Metaflow's client sees the runs of a backend: a Python, a folder, variables beside those
    of this process."""

    python: str
    working_directory: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class HasClient(Protocol):
    """A backend whose runs can be looked at from here, by their cards for one."""

    def client(self) -> MetaflowClient: ...


@runtime_checkable
class FollowsFromAnywhere(Protocol):
    """A backend whose runs can be followed from a machine that did not launch them."""

    def here(self, handle: Handle, folder: Path) -> Handle:
        """Of the same run, with its files below `folder` where those of then are not to be seen."""


class LaunchError(RuntimeError):
    """A run that could not be started, followed or resumed. The message says what to do."""


class OutOfSightError(LaunchError):
    """A run that goes on, or may, and cannot be seen now. Its handle finds it again."""


class UsageError(LaunchError):
    """What was asked for cannot be meant so: a slip of whoever asked. Nothing was started."""

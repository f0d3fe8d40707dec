"""Runs on Databricks: the flow is cloned from Git, and run on one driver, serverless by default.

A run there is one task, which runs the whole flow with Metaflow's own scheduler
(`databricks_driver`). It is found by its number, and before that is known by its name, which is
settled before the start. A failed run is **repaired**: Databricks runs the task again in the same
run, and the flow goes on where it failed. When Databricks refuses that, or other code is to run
than ran, a new run resumes it.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_metaflow.backends import databricks_settings as settings
from dagster_metaflow.backends.copied_log import read_lines
from dagster_metaflow.backends.databricks_api import Workspace, explained, failures, said
from dagster_metaflow.backends.databricks_attempt import (
    index_of,
    place_of,
    read_json,
    store_of,
    submitted_at,
)
from dagster_metaflow.backends.databricks_following import Follower, say
from dagster_metaflow.backends.databricks_git import PACKAGES_OF_HERE, differs, require_files
from dagster_metaflow.backends.databricks_options import DatabricksOptions
from dagster_metaflow.backends.databricks_refused import refuse_credentials, refuse_folders
from dagster_metaflow.backends.databricks_repair import BEGINS_SECONDS, OtherCodeError, repair
from dagster_metaflow.backends.databricks_requirements import requirements
from dagster_metaflow.backends.databricks_start import CLOCKS, begun
from dagster_metaflow.backends.databricks_states import commit_of, state_of
from dagster_metaflow.backends.local import new_attempt, seen_from_here
from dagster_metaflow.backends.looks import Followers, Pace
from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    RunState,
    RunStatus,
    UsageError,
)
from dagster_metaflow.backends.travelling import travelled
from dagster_metaflow.parameters import to_arguments
from dagster_metaflow.stores import read_file, without_secrets, write_file

_LONGEST_TOKEN = 64  # of an idempotency token


class DatabricksBackend(DatabricksOptions):
    """Runs flows as one-time runs of a workspace, of code in Git."""

    def prepare(self, request: LaunchRequest) -> Handle:
        if not request.flow_file.is_file():
            raise UsageError(f"{request.flow_file}: there is no such flow")
        if not (store := self.store or request.ledger_root):
            raise UsageError("a run on Databricks needs a store: set the backend's `store`")
        token = re.sub(r"[^A-Za-z0-9_.-]", "-", request.launch_id)[: _LONGEST_TOKEN - 7]
        token = f"{token}-{secrets.token_hex(3)}"
        return {
            "folder": str(new_attempt(request.folder)),
            "name": f"{request.flow_name} {token}",
            "place": place_of(store, request.flow_file.name, token),
            "attempt": 1,
            "prepared": datetime.now(UTC).isoformat(),
        }

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        brought = travelled(request, {**os.environ, **self.environment})
        return self._submit(brought, handle, self._settings(_store(handle)))

    def _submit(
        self,
        request: LaunchRequest,
        handle: Handle,
        found: settings.Settings,
        origin: str | None = None,
    ) -> Handle:
        root, name = settings.local_root(request, self.repository), str(handle["name"])
        files = [self.entry, settings.flow_in(root, request)]
        require_files(root, found.source, files)
        body = settings.submission(
            found,
            name=name,
            token=posixpath.basename(str(handle["place"])),
            entry=self.entry,
            parameters=self._parameters(request, handle, found, root, origin),
            dependencies=[
                *self.dependencies,
                *requirements(root, found.source, self.requirements),
            ],
            new_cluster=self.new_cluster,
            timeout_seconds=self.timeout_seconds,
        )
        place, folder = str(handle["place"]), _folder(handle)
        noted: dict[str, Any] = {"commit": found.source.commit}
        with store_of(place):  # before there is a run that could not be followed from here
            write_file(submitted_at(place), json.dumps(noted).encode())

        def start() -> int:
            run = self.workspace().submit(body)
            with suppress(OSError):  # a run is under way, whatever becomes of this file
                _number(folder).write_text(str(run), encoding="utf-8")
            return run

        run = begun(start, lambda: self.run_of(handle), "to start the run", name)
        say(folder, f"Databricks run {run}: {found.source.words()}")
        try:
            write_file(submitted_at(place), json.dumps({**noted, "run": run}).encode())
        except OSError as error:
            say(folder, f"Its number is not kept in the store: {without_secrets(str(error))}")
        if found.source.commit is None:
            say(folder, PACKAGES_OF_HERE)
        if differs(root, found.source.commit):
            say(folder, f"What lies in {root} is something else: it is not what runs.")
        return {**handle, "run": run}

    def _parameters(
        self,
        request: LaunchRequest,
        handle: Handle,
        found: settings.Settings,
        root: Path,
        origin: str | None,
    ) -> list[str]:
        """Of the driver. Raises UsageError when there is more than a run can take."""
        place = str(handle["place"])
        own = {**self.environment, **request.environment}
        variables = settings.variables(own, self.forwarded)
        told = [f"--tag={tag}" for tag in request.tags]
        if self.max_workers is not None:
            told.append(f"--max-workers={self.max_workers}")
        given = [
            f"--flow={settings.flow_in(root, request)}",
            f"--store={_store(handle)}",
            f"--token={posixpath.basename(place)}",
            *([f"--secret-scope={found.scope}"] if found.scope else []),
            *([f"--origin={origin}"] if origin else []),
            *[f"--variable={name}={value}" for name, value in sorted(variables.items())],
            *[f"--option={option}" for option in self.options],
            *[f"--run-option={option}" for option in told],
            "--",
            *to_arguments(request.parameters),
        ]
        refuse_credentials(given)
        refuse_folders(given, self.environment)
        settings.refuse_long(given)
        return given

    # -- resuming ------------------------------------------------------------------------------

    def resume(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        store = _store(handle)
        with store_of(store):
            told = read_file(index_of(store, request.flow_file.name, origin_run_id))
        if told is None:
            raise LaunchError(f"no run on Databricks has left word of run {origin_run_id}")
        token = told.decode()
        place = place_of(store, request.flow_file.name, token)
        with store_of(place):
            noted, last = (
                read_json(submitted_at(place)),
                read_json(posixpath.join(place, "run.json")),
            )
        wanted, why_not = self._settings(store), "it is not known which run it was"
        if run := noted.get("run") or (int(token) if token.isdigit() else None):
            attempt = int(last.get("attempt", 0))
            again = {**handle, "run": run, "place": place, "attempt": attempt}
            refused = self._repaired(run, noted.get("commit"), wanted)
            if refused is None:
                say(_folder(handle), f"Databricks run {run} is repaired: {wanted.source.words()}")
            if refused is None or (refused == _GOES_ON and last.get("run_id") == origin_run_id):
                return {**again, "attempt": attempt + 1}  # whose driver has left no word yet
            if refused in (_GOES_ON, _ENDED_WELL):
                return again
            why_not = refused
        brought = travelled(request, {**os.environ, **self.environment})
        made = self._submit(brought, handle, wanted, origin_run_id)
        say(_folder(handle), f"Run {origin_run_id} is resumed in a new run, since {why_not}.")
        return made

    def _repaired(self, run: int, commit: str | None, wanted: settings.Settings) -> str | None:
        """Why it is not."""
        from databricks.sdk.errors import BadRequest, NotFound

        workspace = self.workspace()
        try:
            found = workspace.run(run)
            if (state := state_of(found)) in _NOT_REPAIRED:
                return _NOT_REPAIRED[state]
            if wanted.source.commit is None or wanted.source.commit != (commit or commit_of(found)):
                return "other code is to run than ran"
            repair(workspace, run, min(BEGINS_SECONDS, self.patience_seconds))
        except OtherCodeError as error:
            return str(error).rstrip(".")
        except (BadRequest, NotFound) as error:
            return f"Databricks does not repair it ({str(error).rstrip('.')})"
        except failures() as error:
            raise explained(error, f"to repair run {run}") from None
        return None

    # -- following -----------------------------------------------------------------------------

    def here(self, handle: Handle, folder: Path) -> Handle:
        return seen_from_here(handle, folder)

    def poll(self, handle: Handle) -> RunStatus:
        if (run := self.run_of(handle)) is None:
            return RunStatus(RunState.LOST, None, "it was never started")
        follower = self.follower(handle, run)
        follower.look()
        return RunStatus(follower.state, follower.run_id, follower.reason)

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        return read_lines(_folder(handle), offset)

    def cancel(self, handle: Handle) -> None:
        if (run := self.run_of(handle)) is None:
            return
        with said(f"to cancel run {run}"):
            self.workspace().cancel(run)
        self.follower(handle, run).hurry()

    def links(self, handle: Handle) -> Mapping[str, str]:
        found = {"log": str(_folder(handle) / "log")}
        with suppress(LaunchError), said("to tell of the run"):
            if (run := self.run_of(handle)) is not None:
                page = self.follower(handle, run).page or self.workspace().run(run).run_page_url
                return {**({"databricks_run": page} if page else {}), **found}
        return found

    # -- how it does it ------------------------------------------------------------------------

    def workspace(self) -> Workspace:
        return Workspace(self.environment)

    def _settings(self, store: str) -> settings.Settings:
        """With its branch settled to a commit, where that can be seen from here."""
        return settings.with_commit(settings.read(self.model_dump(), self.environment, store))

    def run_of(self, handle: Handle) -> int | None:
        """By its name when whoever started it could not note its number."""
        if "run" in handle:
            return int(handle["run"])
        with suppress(OSError, ValueError):
            return int(_number(_folder(handle)).read_text(encoding="utf-8"))
        since = datetime.fromisoformat(str(handle["prepared"])) - CLOCKS
        with said("to look for the run"):
            return self.workspace().find_run(str(handle["name"]), since)

    def follower(self, handle: Handle, run: int) -> Follower:
        pace = Pace(self.look_seconds, self.most_look_seconds, self.patience_seconds)
        key = (run, str(handle["folder"]))

        def make() -> Follower:
            return Follower(
                workspace=self.workspace(),
                run=run,
                place=str(handle["place"]),
                attempt=int(handle["attempt"]),
                folder=_folder(handle),
                pace=pace,
            )

        follower = _FOLLOWERS.of(key, make)
        follower.pace = pace
        return follower


_FOLLOWERS = Followers[tuple[int, str], Follower]()
_GOES_ON, _ENDED_WELL = "it goes on", "it has ended well"
_NOT_REPAIRED = {RunState.RUNNING: _GOES_ON, RunState.SUCCEEDED: _ENDED_WELL}


def _folder(handle: Handle) -> Path:
    return Path(str(handle["folder"]))


def _number(folder: Path) -> Path:
    """The file with the run's number: a start that is interrupted gives nobody a handle."""
    return folder / "databricks_run"


def _store(handle: Handle) -> str:
    return str(handle["place"]).rpartition("/_databricks/")[0]

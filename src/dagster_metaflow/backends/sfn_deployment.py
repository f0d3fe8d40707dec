"""Deploys a flow to Step Functions with Metaflow's own command, when its code has changed.

What is deployed stands in two tags of the state machine: the hash of the code that it runs, and of
the definition that Metaflow made of it. A machine whose definition is another one has been deployed
by somebody else since, and is deployed again. The definition itself says of which code it is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

import dagster_metaflow
from dagster_metaflow.backends.aws_api import Aws, said
from dagster_metaflow.backends.metaflow_settings import metaflow_settings
from dagster_metaflow.backends.protocol import LaunchError, LaunchRequest
from dagster_metaflow.backends.sfn_mark import is_made_of, mark_option
from dagster_metaflow.backends.sfn_schedule import Schedule

CODE_TAG = "dagster_metaflow/code"
DEFINITION_TAG = "dagster_metaflow/definition"

_DEPLOY_SECONDS = 600
_TOLD_LINES = 12
_LATE_LOOKS = 20
_LATE_SECONDS = 0.5
_AUTHORIZE = "--authorize"
# What Metaflow puts into no deployment.
_OF_ITS_HOST = re.compile(
    "METAFLOW_(USER|UI_URL|TEMPDIR|CLIENT_.*|RESUME_MAX_NUM_SPLITS"
    "|DATASTORE_SYSROOT_LOCAL|DATATOOLS_LOCALROOT|CARD_LOCALROOT)"
)
_NO_TOKEN = "Incorrect production token"  # noqa: S105 - Metaflow's words


class Deployed(NamedTuple):
    """A state machine, and the definition that it runs."""

    arn: str
    definition: str


@dataclass(frozen=True)
class Deployer:
    """python, working_directory, environment: of Metaflow's command. options: before
    `step-functions`. create_options: after `create`. name: of the state machine, the flow's when
    None. read: names of variables that the flow reads while it is deployed."""

    aws: Aws
    python: str
    working_directory: str | None
    environment: Mapping[str, str]
    options: Sequence[str]
    create_options: Sequence[str]
    name: str | None
    read: Sequence[str] = ()

    def machine(self, request: LaunchRequest) -> str:
        """Its name, as Metaflow makes it."""
        name = self.name or request.flow_name
        prefix = metaflow_settings(self._variables()).get("METAFLOW_SFN_STATE_MACHINE_PREFIX")
        return name if not prefix or name.startswith(prefix) else f"{prefix}_{name}"

    def code(self, request: LaunchRequest) -> str:
        """Hash of all that a deployment is made of; the same for whoever deploys, from any host."""
        known = self._variables()
        found = metaflow_settings(known).items()
        settings = {name: value for name, value in found if not _OF_ITS_HOST.fullmatch(name)}
        settings |= {name: known.get(name) for name in self.read}
        create = [one for one in self.create_options if one.partition("=")[0] != _AUTHORIZE]
        parts = [request.code_version, _own_code(), self.options, create, settings]
        text = json.dumps(parts, sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def deployed(self, request: LaunchRequest) -> Deployed:
        """The machine, once it runs the request's code. Raises LaunchError."""
        with said("to look at the state machine"):
            arn = self.aws.machine_arn(self.machine(request))
        # Two runs of one machine do not deploy at once; elsewhere the later one wins.
        request.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(request.folder.parent / f".{self.machine(request)}.deploying"):
            with said("to look at the state machine"):
                before, code = self._seen(arn), self.code(request)
                tags = None if before is None else self.aws.machine_tags(arn)
            schedule = Schedule(self.aws, arn, tags)
            if before is not None and tags is not None:
                schedule.mend(before[0])
                if tags.items() >= _tags(code, before[0]).items():
                    return Deployed(arn, before[0])
            with schedule.kept(code):
                self._create(request, code)
            with said("to tag the state machine"):
                definition = self._created(arn, before, code)
                self._tag(arn, code, definition)
        return Deployed(arn, definition)

    def _seen(self, arn: str) -> tuple[str, str] | None:
        """Definition and revision, which AWS may show late; None when it is not there."""
        client = self.aws.client("stepfunctions")
        try:
            found = client.describe_state_machine(stateMachineArn=arn)
        except client.exceptions.StateMachineDoesNotExist:
            return None
        return found["definition"], found.get("revisionId", "")

    def _created(self, arn: str, before: tuple[str, str] | None, code: str) -> str:
        """The definition of that code that came after `before`, which may have stayed the same."""
        for _ in range(_LATE_LOOKS):
            found = self._seen(arn)
            ours = found is not None and is_made_of(self.aws, found[0], code)
            if ours and found != before:
                break
            time.sleep(_LATE_SECONDS)
        if found is None or not ours:
            raise LaunchError(
                "AWS does not show the state machine as it was deployed. Does somebody else deploy "
                "it now? Re-execute in a minute; `state_machine` gives it a name of its own."
            )
        return found[0]

    def _tag(self, arn: str, code: str, definition: str) -> None:
        tags = [{"key": key, "value": value} for key, value in _tags(code, definition).items()]
        self.aws.client("stepfunctions").tag_resource(resourceArn=arn, tags=tags)

    def _create(self, request: LaunchRequest, code: str) -> None:
        """Raises LaunchError, also for a name that is not expected."""
        named = [] if self.name is None else [f"--name={self.name}"]
        flow = [self.python, str(request.flow_file), *self.options]
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "deployed.json"
            options = [*self.create_options, mark_option(code)]
            options.append(f"--deployer-attribute-file={told}")
            self._run(request, [*flow, "step-functions", *named, "create", *options])
            name, expected = json.loads(told.read_text())["name"], self.machine(request)
        if name != expected:
            raise LaunchError(
                f"Metaflow has deployed {request.flow_name} as {name}, and not as {expected}, "
                "which Dagster would follow. Delete that state machine; `state_machine` gives the "
                "flow a name of its own."
            )

    def _run(self, request: LaunchRequest, command: Sequence[str]) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
                command,
                cwd=self.working_directory,
                env={**self._variables(), **request.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_DEPLOY_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LaunchError(f"the flow cannot be deployed: {error}") from None
        if done.returncode and _NO_TOKEN in done.stdout:
            raise LaunchError(
                f"somebody else has deployed {request.flow_name} to Step Functions "
                f"{_by(done.stdout)}, and Metaflow asks for the token that their `step-functions "
                "create` has shown. Give it once, as `create_options: [--authorize=TOKEN]` of "
                "step_functions, or deploy as they do (METAFLOW_USER); `state_machine` gives the "
                "flow a name of its own."
            )
        if done.returncode:
            last = "\n".join(done.stdout.strip().splitlines()[-_TOLD_LINES:])
            raise LaunchError(f"{request.flow_name} cannot be deployed to Step Functions:\n{last}")

    def _variables(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def _tags(code: str, definition: str) -> dict[str, str]:
    return {CODE_TAG: code, DEFINITION_TAG: definition_hash(definition)}


def _by(told: str) -> str:
    """Who has deployed it, of Metaflow's words, which are broken into lines."""
    found = re.search(r"deployed by the user (\S+?)\.(?:\s|$)", " ".join(told.split()))
    return f"(user {found[1].strip('*')})" if found else ""


def definition_hash(definition: str) -> str:
    """However it is spaced and ordered."""
    text = json.dumps(json.loads(definition), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _own_code() -> str:
    """Of this library, which is in the code package too."""
    digest = hashlib.sha256()
    for file in sorted(Path(dagster_metaflow.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()

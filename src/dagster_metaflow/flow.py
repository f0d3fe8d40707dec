"""A Metaflow flow as Dagster sees it: its file, what it takes, and the version of its code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster import DagsterInvalidDefinitionError, Field
from pydantic import BaseModel, ConfigDict

from dagster_metaflow.parameters import FlowParameter, ProtocolParameters, config_schema

_DESCRIBE = Path(__file__).with_name("describe_flow.py")
_DESCRIBE_SECONDS = 60


class FlowStep(BaseModel):
    """foreach: artifact that it fans out over. cards: their ids, or types for want of an id. queue:
    of AWS Batch, that it has for itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    foreach: str | None = None
    cards: tuple[str, ...] = ()
    queue: str | None = None


class FlowDescription(BaseModel):
    """is_of_a_project: it has `@project`, also of a class that it is made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    parameters: tuple[FlowParameter, ...]
    steps: tuple[FlowStep, ...]
    is_of_a_project: bool = False


class MetaflowFlow:
    """A flow file.

    path: the file; it holds one flow. code: files and folders (their `.py` files) that the flow
    runs beside those of its own folder; they are part of the code version, so that assets become
    stale when a library changes that the flow calls. inputs: files that a run reads as it begins
    and keeps to; a run that failed begins anew, rather than resumes, when they have changed. They
    are part of the code version too, and not of what is deployed: a run is given them. packed:
    other files that the flow takes into its code package; they are part of what is deployed only.
    fixed: values of parameters that are settled here and not asked for in run config. python: runs
    the file once to ask what it is; the answer is kept until the code version changes.

    Raises DagsterInvalidDefinitionError, when the flow is first looked at, for a file that is no
    flow, or that cannot be loaded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        code: Sequence[str | os.PathLike[str]] = (),
        inputs: Sequence[str | os.PathLike[str]] = (),
        packed: Sequence[str | os.PathLike[str]] = (),
        fixed: Mapping[str, Any] | None = None,
        protocol: ProtocolParameters | None = None,
        python: str = sys.executable,
    ) -> None:
        self.path = Path(path).resolve()
        self.fixed = dict(fixed or {})
        self.protocol = protocol or ProtocolParameters()
        self.inputs = tuple(Path(place).resolve() for place in inputs)
        self._code = [self.path.parent, *(Path(p).resolve() for p in code)]
        self._packed = [Path(place).resolve() for place in packed]
        self._python = python

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.description.steps)

    @property
    def queues(self) -> tuple[str, ...]:
        """Of AWS Batch, that steps have for themselves."""
        return tuple(step.queue for step in self.description.steps if step.queue)

    @cached_property
    def parameters(self) -> Mapping[str, FlowParameter]:
        return {p.name: p for p in self.description.parameters}

    @cached_property
    def config_schema(self) -> dict[str, Field]:
        """Run config of the flow's op: its parameters, less those that are settled elsewhere."""
        self._require_known(self.fixed)
        for name, value in self.fixed.items():
            self.parameters[name].require(value)
        return config_schema(
            self.parameters.values(), without=self.protocol.names() | self.fixed.keys()
        )

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by Python name as values by option; those that are None are left out.

        Raises DagsterInvalidDefinitionError for a parameter that the flow does not have.
        """
        self._require_known(values)
        return {
            self.parameters[name].option: self.parameters[name].joined(value)
            for name, value in sorted(values.items())
            if value is not None
        }

    def protocol_options(self, launch_id: str, ledger_root: str) -> dict[str, Any]:
        """By option, for those of the protocol's parameters that the flow has."""
        own = {self.protocol.launch_id: launch_id, self.protocol.ledger_root: ledger_root}
        return self.options({k: v for k, v in own.items() if k in self.parameters})

    def _require_known(self, names: Iterable[str]) -> None:
        if unknown := sorted(set(names) - self.parameters.keys()):
            raise DagsterInvalidDefinitionError(
                f"{self.name} has no parameter {', '.join(unknown)}; it has "
                f"{', '.join(sorted(self.parameters)) or 'none'} ({self.path})"
            )

    @cached_property
    def code_version(self) -> str:
        """Hash of the flow's folder, of `code` and of `inputs`: changes when what a run would do
        may change. Of their bytes: to leave comments out takes half a second of every process that
        loads the location."""
        return _digest([*self._code, *self.inputs])

    @cached_property
    def deployed_version(self) -> str:
        """Hash of what a deployment holds; the same whatever files its runs are given."""
        return _digest([*self._code, *self._packed])

    @cached_property
    def inputs_version(self) -> str:
        """Hash of `inputs`; empty without any."""
        return _digest(self.inputs) if self.inputs else ""

    @cached_property
    def description(self) -> FlowDescription:
        if not self.path.is_file():
            raise DagsterInvalidDefinitionError(f"{self.path}: there is no such flow file")
        kept = _cache() / f"{self.path.stem}-{self._key()}.json"
        try:
            return FlowDescription.model_validate_json(kept.read_bytes())
        except (OSError, ValueError):
            found = self._ask()
        _keep(kept, found)
        return found

    def _key(self) -> str:
        parts = [str(self.path), self.code_version, self._python, _DESCRIBE.read_text("utf-8")]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    def _ask(self) -> FlowDescription:
        command = [self._python, "-P", str(_DESCRIBE), str(self.path)]
        try:
            done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
                command, capture_output=True, text=True, timeout=_DESCRIBE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DagsterInvalidDefinitionError(
                f"{self.path} cannot be looked at: {error}"
            ) from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise DagsterInvalidDefinitionError(
                f"{self.path} cannot be loaded: {last}\n"
                f"See for yourself: {self._python} {self.path} show"
            )
        # What the flow's file itself prints comes before.
        return FlowDescription.model_validate(json.loads(done.stdout.strip().splitlines()[-1]))


def _digest(roots: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for root in roots:
        for file in _sources(root):
            digest.update(file.relative_to(root.parent).as_posix().encode() + b"\0")
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    found = sorted(p for p in root.rglob("*.py") if "__pycache__" not in p.parts)
    # An editor's lock file is a link to nowhere, and a folder may be named like a file.
    yield from (p for p in found if p.is_file())


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dagster-metaflow"


def _keep(path: Path, description: FlowDescription) -> None:
    """A cache: where nothing may be written, the flow is asked again each time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
            stream.write(description.model_dump_json())
        Path(stream.name).replace(path)
    except OSError:
        return

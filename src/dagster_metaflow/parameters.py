"""A flow's parameters: as typed run config of Dagster, and as arguments of Metaflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from dagster import DagsterInvalidDefinitionError, Field, Noneable
from pydantic import BaseModel, ConfigDict

_TYPES: Mapping[str, Any] = {
    "int": int, "integer": int, "float": float, "bool": bool, "boolean": bool, "str": str,
}  # fmt: skip


class FlowParameter(BaseModel):
    """One `metaflow.Parameter`. name: in Python; option: on the command line.

    separator: of a parameter that takes a list. default: None also where the flow computes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    option: str
    type: str
    default: Any = None
    required: bool = False
    help: str = ""
    separator: str | None = None

    def to_field(self) -> Field:
        """Leaving it out, or null, means what it means to the flow: its own default."""
        kind = _TYPES.get(self.type, str)
        if self.separator:
            kind = [str]
        text = self.help or f"Parameter --{self.option} of the flow."
        if self.required:
            return Field(kind, description=text, is_required=True)
        default = self._default(kind)
        if default is None:
            return Field(Noneable(kind), description=text, is_required=False)
        return Field(kind, description=text, default_value=default)

    def _default(self, kind: Any) -> Any:
        """As run config has it; None where there is none, or where it is of another kind."""
        if self.separator:
            told = self.default
            return told.split(self.separator) if isinstance(told, str) and told else told or None
        if kind is float and type(self.default) is int:
            return float(self.default)
        return self.default if isinstance(self.default, kind) else None

    def require(self, value: Any) -> None:
        """Raises DagsterInvalidDefinitionError for a value of another type than the flow's."""
        kind = _TYPES.get(self.type, str)
        takes = (int, float) if kind is float else (kind,)
        if kind is str or value is None or self.separator:
            return
        if not isinstance(value, takes) or (isinstance(value, bool) and kind is not bool):
            raise DagsterInvalidDefinitionError(
                f"parameter {self.name} of the flow takes {self.type}, not {value!r}"
            )

    def joined(self, value: Any) -> Any:
        """A list as this parameter takes it; anything else as it is."""
        if self.separator and isinstance(value, list | tuple):
            return self.separator.join(map(str, value))
        return value


class ProtocolParameters(BaseModel):
    """Names of the parameters by which a flow and Dagster understand each other.

    A flow has those that it needs: a name that it does not have is not passed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    launch_id: str = "launch_id"
    """Names the run's folder in the ledger; without it, the run id does."""
    ledger_root: str = "output_uri"
    """Root under which the flow writes `_reports/`."""
    assets: str = "assets"
    """Comma-separated names of the assets to publish, when not all are selected."""
    partition_start: str = "partition_start"
    partition_end: str = "partition_end"
    """First and last partition of the selection, the latter inclusive."""
    partition: str = "partition"
    """For flows that take one partition at a time."""

    def names(self) -> frozenset[str]:
        return frozenset(self.model_dump().values())


def config_schema(parameters: Iterable[FlowParameter], without: Iterable[str]) -> dict[str, Field]:
    """Run config of an op that launches the flow; `without`: parameters that others set."""
    hidden = frozenset(without)
    return {p.name: p.to_field() for p in parameters if p.name not in hidden}


def to_arguments(parameters: Mapping[str, Any]) -> list[str]:
    """`--option=value` for what is not None, in the order given."""
    return [
        f"--{option}={to_text(value)}" for option, value in parameters.items() if value is not None
    ]


def to_text(value: Any) -> str:
    """As Metaflow reads it on its command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else str(value)

"""A bundle's `databricks.yml`: read, its shapes checked, and its variables put in.

Only what a job needs is looked into here; the Jobs API, or the Databricks CLI, says the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dagster_metaflow.backends.protocol import UsageError

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.\[\]-]+)\}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Permission(_Part):
    level: str


class _Resources(_Part):
    jobs: dict[str, Any] | None = None


class _Target(_Part):
    presets: dict[str, Any] | None = None
    permissions: list[_Permission] | None = None
    run_as: dict[str, str] | None = None
    variables: dict[str, Any] | None = None


class _Bundle(_Part):
    bundle: dict[str, Any] | None = None
    include: list[str] | None = None
    variables: dict[str, dict[str, Any] | None] | None = None
    resources: _Resources | None = None
    targets: dict[str, _Target | None] | None = None
    permissions: list[_Permission] | None = None
    run_as: dict[str, str] | None = None


class _Spec(_Part):
    dependencies: list[str] | None = None


class _Environment(_Part):
    spec: _Spec


class _Task(_Part):
    spark_python_task: dict[str, Any]


class _Job(_Part):
    tasks: list[_Task] = Field(min_length=1)
    environments: list[_Environment] | None = None
    permissions: list[_Permission] | None = None
    tags: dict[str, Any] | None = None
    schedule: dict[str, Any] | None = None
    trigger: dict[str, Any] | None = None
    continuous: dict[str, Any] | None = None


def load(file: Path) -> dict[str, Any]:
    """Raises UsageError for what is no bundle."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    return _checked(_Bundle, found, f"{file} is no bundle")


def part_of(bundle: Mapping[str, Any], file: Path, what: str, name: str) -> dict[str, Any]:
    """A job or a target, by its name. Raises UsageError with those that there are."""
    known = (bundle.get("resources") or {}).get("jobs") if what == "job" else bundle.get("targets")
    if name in (known or {}):
        return dict((known or {})[name] or {})
    names, others = ", ".join(known or {}) or "none", bundle.get("include")
    more = f". Files that it includes are not read: {', '.join(others)}" if others else ""
    raise UsageError(f"{file}: there is no {what} {name!r}; it has {names}{more}")


def check_job(job: Mapping[str, Any], file: Path, key: str) -> None:
    """Raises UsageError for one that cannot be run from here, such as a notebook's."""
    _checked(_Job, job, f"{file}: job {key!r} cannot be run from here")


def _checked(kind: type[BaseModel], found: Any, words: str) -> dict[str, Any]:
    try:
        kind.model_validate(found)
    except ValidationError as error:
        wrong = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        told = "; ".join(": ".join(filter(None, one)) for one in wrong)
        raise UsageError(f"{words}: {told}") from None
    return dict(found)


# -- variables ---------------------------------------------------------------------------------


def values_in(
    bundle: Mapping[str, Any],
    target: str,
    of_target: Mapping[str, Any],
    given: Mapping[str, str],
    file: Path,
) -> dict[str, Any]:
    """Of variables: as given, by BUNDLE_VAR_ as the CLI takes them, of the target, by default. None
    for one that has no value."""
    variables, overrides = bundle.get("variables") or {}, of_target.get("variables") or {}
    if unknown := sorted(set(given) - set(variables)):
        raise UsageError(f"{file} has no variable {', '.join(unknown)}")
    name = (bundle.get("bundle") or {}).get("name", "")
    values: dict[str, Any] = {"bundle.target": target, "bundle.name": name}
    for name, about in variables.items():
        own = overrides.get(name)
        if isinstance(own, Mapping):
            own = own.get("default")
        known = (given.get(name), os.environ.get(f"BUNDLE_VAR_{name}"), own)
        default = (about or {}).get("default")
        values[f"var.{name}"] = next((value for value in known if value is not None), default)
    return values


def resolved(
    value: Any, values: Mapping[str, Any], file: Path, within: tuple[str, ...] = ()
) -> Any:
    """With values in the place of `${...}`, and of those in them. within: which are being put in.

    Raises UsageError for one that is not to be had here.
    """
    if isinstance(value, dict):
        return {k: resolved(v, values, file, within) for k, v in value.items()}
    if isinstance(value, list):
        return [resolved(item, values, file, within) for item in value]
    if not isinstance(value, str):
        return value

    def one(found: re.Match[str]) -> str:
        name = found[1]
        if (why := _not_had(name, values, within)) is not None:
            raise UsageError(f"{file}: {found[0]} {why}")
        return str(resolved(_text(values[name]), values, file, (*within, name)))

    return _REFERENCE.sub(one, value)


def _not_had(name: str, values: Mapping[str, Any], within: tuple[str, ...]) -> str | None:
    bare = name.removeprefix("var.")
    if name in within:
        return "has itself in its value"
    if name not in values:
        if name == bare:
            return "is known to the Databricks CLI alone: deploy the job with it"
        return f"is none: there is no variable {bare!r}"
    if values[name] is None:
        return f"has no value; set BUNDLE_VAR_{bare}"
    if isinstance(values[name], dict | list):
        return "is no text, and is put in by the Databricks CLI alone: deploy the job with it"
    return None


def _text(value: Any) -> str:
    """As the CLI writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)

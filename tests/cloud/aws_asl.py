"""The Amazon States Language, as far as Metaflow's state machines go: paths, and states' data.

moto's interpreter gives a list for a path that names several keys, maps no parameters of Batch, and
knows no redrive: hence this one. What it does not know is an error, never a guess.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_][\w-]*)"  # .JobId
    r"|\.?\[(?P<index>\d+)\]"  # [0] and .[0]
    r"|\.?\['(?P<keys>[^\]]*)'\]"  # ['metaflow.run_id'] and ['JobId', 'Index']
)
_INTRINSIC = re.compile(r"^States\.StringToJson\((?P<path>\$.*)\)$")


class StatesError(Exception):
    """An error of an execution, by its name in the language."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


def look_up(path: str, data: Any, context: Mapping[str, Any] | None = None) -> Any:
    """The value at a path; `$$` begins in the context object.

    A path that ends in several keys gives an object of those that exist, as AWS does.
    """
    if match := _INTRINSIC.match(path):
        return json.loads(look_up(match["path"], data, context))
    value: Any = context if path.startswith("$$") else data
    place = 2 if path.startswith("$$") else 1
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            raise StatesError("States.Runtime", f"this path is not understood: {path}")
        value = _child(match, value, path)
        place = match.end()
    return value


def _child(match: re.Match[str], value: Any, path: str) -> Any:
    try:
        if match["name"] is not None:
            return value[match["name"]]
        if match["index"] is not None:
            return value[int(match["index"])]
        keys = [key.strip().strip("'") for key in match["keys"].split(",")]
        if len(keys) == 1:
            return value[keys[0]]
        return {key: value[key] for key in keys if key in value}
    except (KeyError, IndexError, TypeError):
        words = f"JSONPath '{path}' could not be found in the input '{json.dumps(value)}'"
        raise StatesError("States.ParameterPathFailure", words) from None


def filled(template: Any, data: Any, context: Mapping[str, Any]) -> Any:
    """A payload template with its `name.$` entries looked up."""
    if isinstance(template, Mapping):
        made = {}
        for key, value in template.items():
            if key.endswith(".$"):
                made[key.removesuffix(".$")] = look_up(value, data, context)
            else:
                made[key] = filled(value, data, context)
        return made
    if isinstance(template, list):
        return [filled(item, data, context) for item in template]
    return template


def entering(state: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> Any:
    """What the state works on: its input, or its parameters."""
    if "InputPath" in state:
        data = look_up(state["InputPath"], data, context)
    return filled(state["Parameters"], data, context) if "Parameters" in state else data


def leaving(state: Mapping[str, Any], data: Any, result: Any, context: Mapping[str, Any]) -> Any:
    """The state's output, of its input and its result."""
    if "ResultSelector" in state:
        result = filled(state["ResultSelector"], result, context)
    path = state.get("ResultPath", "$")
    if path is None:
        output = data
    elif path == "$":
        output = result
    else:
        output = copy.deepcopy(data)
        *parents, last = path.removeprefix("$.").split(".")
        place = output
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = result
    return look_up(state.get("OutputPath", "$"), output, context)


def camel(value: Any, *, verbatim: bool = False) -> Any:
    """PascalCase keys of a state machine as the service's own; contents of maps stay as given."""
    if isinstance(value, Mapping):
        return {
            (k if verbatim else k[:1].lower() + k[1:]): camel(v, verbatim=k in _MAPS)
            for k, v in value.items()
        }
    return [camel(item) for item in value] if isinstance(value, list) else value


def pascal(value: Any, *, verbatim: bool = False) -> Any:
    """And back."""
    if isinstance(value, Mapping):
        return {
            (k if verbatim else k[:1].upper() + k[1:]): pascal(v, verbatim=k in _MAPS)
            for k, v in value.items()
        }
    return [pascal(item) for item in value] if isinstance(value, list) else value


_MAPS = {"Parameters", "parameters", "Tags", "tags", "options", "Options"}

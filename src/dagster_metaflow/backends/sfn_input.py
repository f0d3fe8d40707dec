"""What an execution is started with, and whether the jobs of its tasks can take it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.parameters import to_text

MOST_OVERRIDES = 8_192
"""Characters of the overrides of one job, command and environment. Batch fails a job with more
("Container Overrides length must be at most 8192")."""

_UNSAFE = "$`"


def parameters_given(parameters: Mapping[str, Any]) -> str:
    """As `step-functions trigger` gives them.

    Raises LaunchError for values that Metaflow's tasks cannot take: they pass through a shell, as
    JSON, of which it undoes no more than the escapes of quotes and backslashes.
    """
    given = {option: to_text(v) for option, v in parameters.items() if v is not None}
    refuse_what_a_shell_reads(given)
    return json.dumps(given)


def refuse_what_a_shell_reads(given: Mapping[str, str]) -> None:
    """given: values by parameter. Raises LaunchError."""
    unsafe = [option for option, text in given.items() if not all(map(_is_kept, text))]
    if unsafe:
        raise LaunchError(
            f"parameter {', '.join(unsafe)}: on Step Functions a value may hold no $ and no `, no "
            "line break, no tab and no letter beyond ASCII, which a shell would read or change. "
            "Give another value, or take the backend `batch`."
        )


def execution_input(parameters: str, code: str) -> str:
    """parameters: as given by `parameters_given`. code: hash of what is meant."""
    return json.dumps({"Parameters": parameters, "CodeVersion": code})


def _is_kept(letter: str) -> bool:
    return " " <= letter <= "~" and letter not in _UNSAFE


def refuse_what_does_not_fit(definition: str, given: str, execution: str) -> None:
    """definition: of the state machine. given: its input. execution: its name.

    Raises LaunchError where a job would have more overrides than Batch takes.
    """
    for step, size in sizes_of_jobs(definition, given, execution):
        if size > MOST_OVERRIDES:
            raise LaunchError(
                f"step {step}: command and environment of its job would take {size:,} characters, "
                f"and AWS Batch takes {MOST_OVERRIDES:,}. Put large values in a file, and pass its "
                "address; `create_options: [--compress-state-machine]` moves commands to S3."
            )


def sizes_of_jobs(definition: str, given: str, execution: str) -> Iterator[tuple[str, int]]:
    """Characters of each job's overrides, by step. Arguments: of `refuse_what_does_not_fit`."""
    known = {
        "METAFLOW_PARAMETERS": json.loads(given)["Parameters"],
        "METAFLOW_RUN_ID": execution,
    }
    for step, overrides in _overrides(json.loads(definition)):
        yield step, len(_filled_in(overrides, known))


def _overrides(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """By state; those of branches and maps too."""
    for name, state in machine["States"].items():
        parameters = state.get("Parameters") or {}
        if "ContainerOverrides" in parameters:
            yield name, parameters["ContainerOverrides"]
        inner = state.get("ItemProcessor") or state.get("Iterator")
        for branch in [*state.get("Branches", []), *([inner] if inner else [])]:
            yield from _overrides(branch)


def _filled_in(overrides: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """As Batch gets them. What stands for an id of a task is taken as it is."""
    environment = [
        {"Name": one["Name"], "Value": known.get(one["Name"], one["Value.$"])}
        if "Value.$" in one
        else one
        for one in overrides.get("Environment", [])
    ]
    return json.dumps({**overrides, "Environment": environment}, separators=(",", ":"))

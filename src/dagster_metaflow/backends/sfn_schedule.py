"""The rule of EventBridge by which a deployed flow starts by itself.

Metaflow's `create` switches it off where the flow says no time, as it does where a variable that
says it is set in the shell of whoever deployed the schedule, and not here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from dagster_metaflow.backends.aws_api import Aws, said

_LONGEST_NAME = 64


@contextmanager
def kept_schedule(aws: Aws, machine: str) -> Iterator[None]:
    """A schedule that is on stays on, whatever is deployed meanwhile. Raises LaunchError."""
    name = _rule(machine)
    with said("to look at the flow's schedule"):
        on = _is_on(aws, name)
    try:
        yield
    finally:
        if on:
            with said("to leave the flow's schedule on"):
                if not _is_on(aws, name):
                    aws.client("events").enable_rule(Name=name)


def _is_on(aws: Aws, name: str) -> bool:
    client = aws.client("events")
    try:
        return bool(client.describe_rule(Name=name)["State"] == "ENABLED")
    except client.exceptions.ResourceNotFoundException:
        return False


def _rule(machine: str) -> str:
    """As Metaflow names it."""
    if len(machine) <= _LONGEST_NAME:
        return machine
    digest = hashlib.sha1(machine.encode(), usedforsecurity=False).digest()
    return f"{machine[:47]}-{base64.b32encode(digest).decode()[:16].lower()}"

"""A mistake of the person who started the run ends in a message: no stack trace, no retries."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from metaflow import user_step_decorator  # noqa: TID253 - this file is part of the flows
from metaflow.exception import (  # noqa: TID253 - likewise
    METAFLOW_EXIT_DISALLOW_RETRY,
    MetaflowException,
)

from flow_task import Task
from fraud_mlops.errors import (
    ContractError,
    FraudMlopsError,
    QualityError,
    SourceError,
    SplitError,
)

_OF_CONTRACTS = (ContractError, QualityError, SourceError, SplitError)
"""What may be mended in the contract."""


class CannotGoOn(MetaflowException):  # type: ignore[misc]
    headline = "The run cannot go on"


@user_step_decorator  # type: ignore[untyped-decorator]
def explained(
    step_name: str,
    flow: Any,
    inputs: Any = None,  # noqa: ARG001
    attributes: Any = None,  # noqa: ARG001
) -> Iterator[None]:
    """Shows a FraudMlopsError as its message; anything else is our mistake and keeps its trace."""
    Task.began = time.monotonic()
    try:
        yield
    except FraudMlopsError as error:
        # Metaflow's @catch sees only the last attempt, so that a step that has it must be retried.
        decorators = getattr(flow, step_name).decorators
        Task.retry_is_useless = all(d.name != "catch" for d in decorators)
        raise CannotGoOn(_advised(error, step_name)) from None


def _advised(error: FraudMlopsError, step_name: str) -> str:
    """What is mended in the contract reaches no run that has read it: `start` pins it."""
    if step_name == "start" or not isinstance(error, _OF_CONTRACTS):
        return str(error)
    new = "After a change of the contract begin a new run, in place of resuming this one"
    return f"{error}\n{new}, which keeps the old."


def main(flow: type) -> None:
    """Runs the flow's command line; a task that met a user's mistake asks not to be retried."""
    try:
        flow()
    except SystemExit:
        if Task.retry_is_useless:
            sys.exit(METAFLOW_EXIT_DISALLOW_RETRY)
        raise


def said(failure: Any) -> str | None:
    """The message of what @catch kept, without the trace; None when nothing failed."""
    if failure is None:
        return None
    lines = str(getattr(failure, "exception", failure)).strip().splitlines()
    return lines[-1] if lines else "no reason was given"

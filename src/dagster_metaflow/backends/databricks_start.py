"""Starting a run: once, and looked for when it is not known whether Databricks has done it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from dagster_metaflow.backends.databricks_api import (
    explained,
    failures,
    first_line,
    is_lasting,
    is_signed_out,
)
from dagster_metaflow.backends.protocol import LaunchError, OutOfSightError
from dagster_metaflow.interrupts import held_back

CLOCKS = timedelta(minutes=10)  # by which this machine's may differ from the workspace's


def begun(start: Callable[[], int], find: Callable[[], int | None], doing: str, name: str) -> int:
    """The run's number. find: looks for a run that `start` may have begun. name: of the run.

    Raises OutOfSightError when there may be one and it is not found; LaunchError when there is
    none.
    """
    try:
        with held_back():
            return start()
    except LaunchError:
        raise
    except failures() as error:
        if is_lasting(error) or is_signed_out(error):
            raise explained(error, doing) from None
        lost = error
    unanswered: tuple[type[Exception], ...] = (LaunchError, *failures())
    try:
        run = find()
    except unanswered:
        told = first_line(lost)
        raise OutOfSightError(
            f"Databricks was asked {doing}, and has not answered: {told} Is the network there, and "
            "DATABRICKS_HOST right? If they were, a run may be under way all the same: look for "
            f"{name!r} on the page Job Runs before another is started."
        ) from None
    if run is None:
        raise explained(lost, doing)
    return run

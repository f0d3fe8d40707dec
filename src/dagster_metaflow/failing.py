"""What the operator reads of a run that did not end well."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import Failure, MetadataValue

from dagster_metaflow.backends.protocol import LaunchError, OutOfSightError, RunStatus
from dagster_metaflow.ledger import LaunchRecord
from dagster_metaflow.progress import Progress

_RESUME = "Re-execute from failure to resume it: steps that finished are not run again."
_NOT_BEGUN = "No step was begun. Correct what it says, and materialize the assets again."


def told(error: LaunchError) -> str:
    """Why a run was not started, or is followed no longer."""
    again = " Re-executing finds it." if isinstance(error, OutOfSightError) else ""
    return f"{error}{again}"


def failure(
    record: LaunchRecord,
    status: RunStatus,
    progress: Progress,
    links: Mapping[str, str],
    left: str | None,
) -> Failure:
    """left: why what the run may have left going could not be ended."""
    task, last, cause = progress.failed_task, progress.reason(), progress.cause()
    where = f" in {record.flow}/{task}" if task else ""
    why = f" ({status.reason})" if status.reason else ""
    lines = [
        f"{record.flow} {status.state.value}{where}{why}.",
        *([f"Cause: {cause}"] if cause else []),
        _RESUME if record.run_id else _NOT_BEGUN,
        *([f"What it may have left going was not ended: {left}"] if left else []),
        *(f"{name}: {place}" for name, place in links.items()),
        *([f"Its last words:\n{last}"] if last else []),
    ]
    return Failure("\n".join(lines), metadata=whereabouts(record, links))


def whereabouts(record: LaunchRecord, links: Mapping[str, str]) -> dict[str, MetadataValue]:
    """Of the run, as metadata."""
    run = f"{record.flow}/{record.run_id}" if record.run_id else "not known"
    return {
        "metaflow_run": MetadataValue.text(run),
        "launch_id": MetadataValue.text(record.launch_id),
        **{name: MetadataValue.text(place) for name, place in links.items()},
    }

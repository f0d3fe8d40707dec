"""What Metaflow itself says of a run: parameters, times, tags, steps. For logs of builds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict


class RunSummary(BaseModel):
    """One run. status: succeeded, failed, or running. steps: name to status, in order of start.

    parameters: JSON, by name; one that is neither JSON nor short is its text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    status: str
    started: AwareDatetime
    finished: AwareDatetime | None
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    steps: Mapping[str, str]


def summarize_run(pathspec: str) -> RunSummary | None:
    """Of `Flow/17`; None where Metaflow's records do not have it, as on another machine."""
    import metaflow
    from metaflow.exception import MetaflowException

    metaflow.namespace(None)
    try:
        run = metaflow.Run(pathspec)
        steps = sorted(run.steps(), key=lambda step: step.created_at)
        return RunSummary(
            run=pathspec,
            status=_status(run),
            started=_aware(run.created_at),
            finished=_aware(run.finished_at) if run.finished_at else None,
            parameters=_parameters(run),
            tags=tuple(sorted(run.user_tags)),
            steps={step.id: _status(step) for step in steps},
        )
    except (MetaflowException, OSError):
        return None


def _status(thing: Any) -> str:
    if not thing.finished_at and not getattr(thing, "finished", False):
        return "running"
    tasks = [thing] if not hasattr(thing, "tasks") else list(thing.tasks())
    good = thing.successful if hasattr(thing, "successful") else all(t.successful for t in tasks)
    return "succeeded" if good else "failed"


def _parameters(run: Any) -> dict[str, Any]:
    task = run["_parameters"].task
    return {
        artifact.id: _plain(artifact.data)
        for artifact in (task or ())
        if not artifact.id.startswith("_") and artifact.id != "name"
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _aware(at: datetime) -> datetime:
    """Metaflow gives local time without saying so."""
    return at.astimezone(UTC)

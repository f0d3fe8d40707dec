"""A run that failed: which step, why, which Metaflow run, how to go on from there; and its end."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from fraud_assets.alerts import raise_alert, tell
from fraud_assets.flows import FOLDER
from fraud_assets.launcher.client import URL_VARIABLE
from fraud_assets.run_requests import RANGE_END, RANGE_START
from fraud_assets.stores import Stores
from fraud_mlops.notifications import Notification
from fraud_mlops.notifications.changes import last_change
from fraud_mlops.settings import settings

_METAFLOW_TAG = "metaflow/"
_WILL_RETRY = "dagster/will_retry"
_PARTITION = "dagster/partition"
_PARTITION_TAGS = (_PARTITION, RANGE_START, RANGE_END)
_REASON_LENGTH = 2000
_PAGE, _RUNS_BACK = 100, 2000
_GOOD, _BAD = "SUCCESS", "FAILURE"
_DAGSTERS_OWN = "__"
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
Made = frozenset[str]
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def run_failure_sensor() -> dg.SensorDefinition:
    """On from the start: it launches nothing, and a failure that nobody hears of costs more."""

    @dg.run_failure_sensor(
        name="run_failure_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of each run that failed: the step, the reason, since when, the Metaflow "
        "run, and how to resume it.",
    )
    def sensor(context: dg.RunFailureSensorContext, stores: Stores) -> None:
        run = context.dagster_run
        facts = failure_facts(run, context.get_step_failure_events(), context.failure_event.message)
        step = facts.get("step")
        made = made_by_steps(context.instance, run).get(step, frozenset())
        since = failing_since(context.instance, run, step, made)
        raise_alert(
            stores.lakehouse,
            f"run-failed-{run.run_id}",
            f"{what_ran(run)} failed",
            facts,
            _log(context),
            message=failure_message(run, facts, since, made),
        )

    return sensor


def run_recovery_sensor() -> dg.SensorDefinition:
    """On from the start, too. Quiet where nobody was told of a failure."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="run_recovery_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells that a step that had failed has succeeded with the same partition, in "
        "whichever job.",
    )
    def sensor(context: dg.RunStatusSensorContext) -> None:
        run = context.dagster_run
        planned = made_by_steps(context.instance, run)
        for step in _succeeded(context.instance, run):
            made = planned.get(step, frozenset())
            for part in {made, *(frozenset({one}) for one in made)}:
                over = Notification(
                    key=problem_key(run, step, part),
                    status="recovered",
                    what=what_ran(run),
                    step=step,
                    link=page(f"runs/{run.run_id}"),
                )
                tell(over, _log(context))

    return sensor


def _log(context: dg.RunStatusSensorContext) -> logging.Logger:
    return logging.getLogger(f"dagster.{__name__}") if context.log is None else context.log


def _succeeded(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str | None]:
    """Its steps; and None, under which runs fail that never came to one."""
    steps = instance.get_run_step_stats(run.run_id)
    return [None, *(one.step_key for one in steps if one.status and one.status.value == _GOOD)]


def what_ran(run: dg.DagsterRun) -> str:
    """The job; of Dagster's own, by which automation and the UI launch, what it was to make."""
    if not run.job_name.startswith(_DAGSTERS_OWN):
        return run.job_name
    keys = [key.to_user_string() for key in run.asset_selection or ()]
    keys = keys or [key.to_user_string() for key in run.asset_check_selection or ()]
    return ", ".join(sorted(keys)) or run.job_name


def made_by_steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str | None, Made]:
    """Assets that each step was to make: in one job a step makes scores and metrics, in another
    only metrics."""
    made: dict[str | None, Made] = {}
    for entry in instance.all_logs(run.run_id, of_type=_PLANNED):
        event = entry.dagster_event
        if event is not None and event.asset_key is not None:
            key = event.asset_key.to_user_string()
            made[event.step_key] = made.get(event.step_key, frozenset()) | {key}
    return made


def problem_key(run: dg.DagsterRun, step: str | None, made: Made) -> str:
    """What the step was to make, in whichever job; of other steps it is the step's problem, and
    before any step the job's."""
    what = "+".join(sorted(made)) or step or what_ran(run)
    return f"run-failed/{what}/{_partition(run.tags) or ''}"


def failure_message(
    run: dg.DagsterRun, facts: Mapping[str, str], since: datetime, made: Made = frozenset()
) -> Notification:
    """One message for what fails again and again; another one when it had recovered."""
    step = facts.get("step")
    shown = ("partition", "metaflow_run", "dagster_run", "resume_by_hand")
    retried = run.tags.get(_WILL_RETRY) == "true"
    told = {"retry": "Dagster tries again by itself; the command follows that"} if retried else {}
    return Notification(
        key=f"{problem_key(run, step, made)}#{since.isoformat()}",
        status="failed",
        what=what_ran(run),
        step=step,
        reason=facts["reason"],
        since=since,
        changed_by=code_changed(),
        link=page(f"runs/{run.run_id}"),
        next_command=_go_on(run),
        facts={name: facts[name] for name in shown if name in facts} | told,
    )


def failing_since(
    instance: dg.DagsterInstance, run: dg.DagsterRun, step: str | None, made: Made
) -> datetime:
    """When the step first failed to make these assets, of this partition, after it had last made
    them, in any job."""
    since = None
    for record in _ended_runs(instance, run):
        ended = _how_ended(instance, record.dagster_run, step, made, as_in=run)
        if ended == _GOOD:
            break
        if ended == _BAD:
            since = record.end_time or record.start_time or record.create_timestamp.timestamp()
    return datetime.now(UTC) if since is None else datetime.fromtimestamp(since, UTC)


def _ended_runs(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[dg.RunRecord]:
    """Of the same partition, or likewise of none; the last one first."""
    same = {tag: value for tag, value in run.tags.items() if tag in _PARTITION_TAGS}
    wanted, cursor = dg.RunsFilter(statuses=_ENDED, tags=same), None
    for _ in range(_RUNS_BACK // _PAGE):
        found = instance.get_run_records(wanted, limit=_PAGE, cursor=cursor)
        for record in found:
            if _partition(record.dagster_run.tags) == _partition(run.tags):
                yield record
        if len(found) < _PAGE:
            return
        cursor = found[-1].dagster_run.run_id


def _how_ended(
    instance: dg.DagsterInstance,
    other: dg.DagsterRun,
    step: str | None,
    made: Made,
    *,
    as_in: dg.DagsterRun,
) -> str | None:
    """Of a step that was to make these assets, in another run; without one, of a run of the same.
    None where it was not in it."""
    if step is None:
        return other.status.value if what_ran(other) == what_ran(as_in) else None
    found = instance.get_run_step_stats(other.run_id, [step])
    if not found or not found[0].status:
        return None
    if not made <= made_by_steps(instance, other).get(step, frozenset()):
        return None
    return found[0].status.value


def page(path: str) -> str | None:
    """A page of Dagster's, where the environment says at which address the webserver is."""
    url = os.environ.get(URL_VARIABLE)
    return f"{url.rstrip('/')}/{path}" if url else None


def code_changed() -> str | None:
    """Who last changed what runs here: as its image says, or Git, where it runs from a checkout."""
    return settings().changed_by or last_change(
        FOLDER.parent, [FOLDER.name, "src", "fraud_assets", "datasets"]
    )


def failure_facts(
    run: dg.DagsterRun, failures: Sequence[dg.DagsterEvent], message: str | None
) -> dict[str, str]:
    """What a person who is called at night needs."""
    facts = {"dagster_run": run.run_id, "job": what_ran(run)}
    if partition := _partition(run.tags):
        facts["partition"] = partition
    for event in failures:
        facts["step"] = event.step_key or "not known"
        facts["reason"] = _reason(event)[:_REASON_LENGTH]
    facts.setdefault("reason", message or "no reason was given")
    for key, run_spec in sorted(run.tags.items()):
        if key.startswith(_METAFLOW_TAG):
            facts["metaflow_run"] = run_spec
            facts["resume_by_hand"] = resume_command(run_spec)
    if run.tags.get(_WILL_RETRY) == "true":
        facts["resume"] = (
            f"Dagster tries again by itself; to follow that: {_go_on(run)}, which goes on with it "
            "if it has failed too"
        )
    else:
        facts["resume"] = (
            f"re-execute the run from failure in Dagster, or: {_go_on(run)}; steps that finished "
            "are not run again"
        )
    return facts


def _go_on(run: dg.DagsterRun) -> str:
    return f"python -m fraud_assets.launch --from-failure {run.run_id}"


def resume_command(run_spec: str) -> str:
    """`IngestFlow/17` as Metaflow's own command."""
    flow, _, run_id = run_spec.partition("/")
    found = [path for path in sorted(FOLDER.glob("*_flow.py")) if _class_name(path.stem) == flow]
    file = f"{FOLDER.name}/{found[0].name}" if found else f"<file of {flow}>"
    return f"python {file} resume --origin-run-id {run_id}"


def _class_name(stem: str) -> str:
    return "".join(part.capitalize() for part in stem.split("_"))


def _reason(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    if error is None:
        return event.message or "no reason was given"
    # The cause is what was raised; what is around it is Dagster's.
    inner = error.cause or error
    return inner.message.strip()


def _partition(tags: Mapping[str, str]) -> str | None:
    if single := tags.get(_PARTITION):
        return single
    first, last = tags.get(RANGE_START), tags.get(RANGE_END)
    return f"{first} to {last}" if first and last else None

"""A run that failed: which step, why, which Metaflow run, and how to go on from there."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import logging
from collections.abc import Mapping, Sequence

import dagster as dg

from fraud_assets.alerts import raise_alert
from fraud_assets.flows import FOLDER
from fraud_assets.run_requests import RANGE_END, RANGE_START
from fraud_assets.stores import Stores

_METAFLOW_TAG = "metaflow/"
_PARTITION = "dagster/partition"
_REASON_LENGTH = 2000


def run_failure_sensor(stores: Stores) -> dg.SensorDefinition:
    """On from the start: it launches nothing, and a failure that nobody hears of costs more.

    Resources are not given to such sensors, so that the stores come from outside.
    """

    @dg.run_failure_sensor(
        name="run_failure_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes an alert for each run that failed: the step, the reason, the Metaflow "
        "run, and how to resume it.",
    )
    def sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        facts = failure_facts(run, context.get_step_failure_events(), context.failure_event.message)
        raise_alert(
            stores.lakehouse,
            f"run-failed-{run.run_id}",
            f"{run.job_name} failed",
            facts,
            logging.getLogger(f"dagster.{__name__}") if context.log is None else context.log,
        )

    return sensor


def failure_facts(
    run: dg.DagsterRun, failures: Sequence[dg.DagsterEvent], message: str | None
) -> dict[str, str]:
    """What a person who is called at night needs."""
    facts = {"dagster_run": run.run_id, "job": run.job_name}
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
    facts["resume"] = (
        f"re-execute the run from failure in Dagster, or: python -m fraud_assets.launch "
        f"--from-failure {run.run_id}; steps that finished are not run again"
    )
    return facts


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

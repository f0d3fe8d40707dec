"""New files in the landing zone: a run for each stretch of partitions that they touch.

What has arrived `fraud_mlops.landing.arrivals` finds out. The run requests carry what asked for
them in their run key, so that a tick which is repeated after a crash launches nothing twice. Runs
that failed are asked for again (`landing_again`), and of ticks that fail people are told
(`landing_failing`).
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from fraud_assets.alerts import raise_alert
from fraud_assets.assets.landing import seen_in_passing
from fraud_assets.dataset import Dataset
from fraud_assets.jobs import INGEST
from fraud_assets.run_requests import run_request, runs_of_partitions
from fraud_assets.sensors.landing_again import failed_before, tags_of
from fraud_assets.sensors.landing_failing import failed, unmarked, went_well
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.landing.arrivals import Arrivals, Seconds, look
from fraud_mlops.landing.partitions import Partitions
from fraud_mlops.words import counted

SETTLE_SECONDS = 30.0
"""A file of this machine that changed more recently may still be being written."""
LIST_SECONDS = 35.0
"""Time in which a store has to list the landing zone. Its client tries for minutes, and Dagster
gives a tick one, in which people are told, too, that it did not."""
TICK_SECONDS = 20.0
"""Time for reading files in one tick; the next tick goes on with the rest."""
_LISTED_AND_READ = 50.0
_INTERVAL_SECONDS = 30
_SHOWN = 10


def landing_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """Off until somebody switches it on: it launches runs."""

    @dg.sensor(
        name=dataset.titled("landing_sensor"),
        job_name=dataset.titled(INGEST),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Ingests the partitions that new or changed files touch, and those of claims "
        "that were in the future when their file landed. A bad file is set aside and reported, and "
        "the others go on; an ingest that failed before is asked for again. A file that is gone "
        "changes nothing.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        try:
            arrivals = arrived(dataset, stores.lakehouse, unmarked(context.cursor))
            for line in arrivals.problems:
                context.log.error(line)
            if arrivals.aside:
                raise_alert(stores.lakehouse, *_alert(dataset, arrivals.aside), context.log)
        except (FraudMlopsError, OSError) as error:  # all of it is done again by the next tick
            cursor = failed(dataset, context.cursor, error, context.log)
            return dg.SensorResult(skip_reason=str(error), cursor=cursor)
        again = failed_before(context.instance, dataset, arrivals.cursor, arrivals.touched)
        if again:
            told = counted(len(again), "ingest")
            context.log.info(f"Asked for again after files were looked at: {told} that failed.")
        requests = [*requests_for(dataset, arrivals), *again]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else arrivals.nothing,
            cursor=went_well(dataset, context.cursor, arrivals.cursor, context.log),
            asset_events=[seen_in_passing(dataset, arrivals.files)] if arrivals.looked else [],
        )

    return sensor


def arrived(
    dataset: Dataset, lakehouse: Lakehouse, cursor: str | None, now: datetime | None = None
) -> Arrivals:
    """A look within the time of one tick. now: the clock's when left out."""
    now = now or datetime.now(UTC)
    names = dataset.partitions.get_partition_keys(current_time=now)
    return look(
        dataset.contract,
        lakehouse,
        cursor,
        partitions=Partitions(names, dataset.contract.partition, live=dataset.is_live),
        seconds=Seconds(SETTLE_SECONDS, LIST_SECONDS, TICK_SECONDS, _LISTED_AND_READ),
        now=now,
    )


def requests_for(dataset: Dataset, arrivals: Arrivals) -> list[dg.RunRequest]:
    """A run for each stretch of partitions that were touched."""
    requests, seen = [], tags_of(arrivals.cursor)
    for part in runs_of_partitions(dataset, set(arrivals.touched)):
        asking = sorted({why for value in part.values() for why in arrivals.touched[value]})
        key = "\n".join([part.first, part.last, *asking])
        requests.append(run_request(dataset, INGEST, part, key=key, tags=seen))
    return requests


def _alert(dataset: Dataset, aside: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """Name, title and facts: one alert for all files that a tick has set aside."""
    name = hashlib.sha256("\n".join(aside).encode()).hexdigest()[:12]
    facts = dict(list(aside.items())[:_SHOWN])
    if len(aside) > _SHOWN:
        facts["more"] = f"{len(aside) - _SHOWN} files, with a record each beside these"
    title = f"{dataset.name}: {len(aside)} landed files cannot be read"
    return f"landing-{dataset.name}-{name}", title, facts

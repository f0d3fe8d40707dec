"""Checks by which flows warn and fail no run: people hear of them, and a training answers some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg

from fraud_assets.dataset import METRICS, ML_OUTPUTS, MODEL_ARTIFACT, RAW_ZONE, Dataset
from fraud_assets.jobs import INGEST, TRAINING
from fraud_assets.sensors.standing import Standing, newest_made, standing
from fraud_mlops import catalog
from fraud_mlops.command_options import options

_LAUNCH = "python -m fraud_assets.launch"


class Watched(NamedTuple):
    """next_step: a job, or a command of `fraud-mlops`. trains: `retraining_sensor` answers it."""

    asset: str
    check: str
    next_step: str
    trains: bool = False

    def next_command(self, dataset: Dataset, found: Standing) -> str:
        """A job that makes partitions is launched for the one that was judged."""
        if self.next_step == INGEST:
            last = found.partition or dataset.partitions.get_last_partition_key()
            return f"{_LAUNCH} {dataset.titled(INGEST)}" + (f" --partition {last}" if last else "")
        if self.next_step == TRAINING:
            return f"{_LAUNCH} {dataset.titled(TRAINING)}"
        known = catalog.available().get(dataset.name) == dataset.file
        named = dataset.name if known else str(dataset.file)
        return f"fraud-mlops {self.next_step} {options(named)}"


WATCHED = (
    Watched(RAW_ZONE, "quarantine_share", "quarantine"),
    Watched(MODEL_ARTIFACT, "oot_average_precision", "models list"),
    Watched(MODEL_ARTIFACT, "calibration", "models list"),
    Watched(ML_OUTPUTS, "alert_budget", TRAINING),
    # Labels are read again with their claims.
    Watched(METRICS, "label_maturity", INGEST),
    Watched(METRICS, "drift", TRAINING, trains=True),
    Watched(METRICS, "performance", TRAINING, trains=True),
)
_PARTITIONED = (RAW_ZONE, ML_OUTPUTS, METRICS)


def warnings(instance: dg.DagsterInstance, dataset: Dataset) -> Iterator[tuple[Watched, Standing]]:
    """How each stands that has been evaluated."""
    return _stand(instance, dataset, WATCHED)


def changes(instance: dg.DagsterInstance, dataset: Dataset) -> list[Standing]:
    """Of those that a training answers."""
    trains = tuple(one for one in WATCHED if one.trains)
    return [found for _, found in _stand(instance, dataset, trains)]


def _stand(
    instance: dg.DagsterInstance, dataset: Dataset, given: tuple[Watched, ...]
) -> Iterator[tuple[Watched, Standing]]:
    of_partitions = {one.asset for one in given}.intersection(_PARTITIONED)
    newest = {asset: newest_made(instance, dataset, asset) for asset in of_partitions}
    for one in given:
        key = dg.AssetCheckKey(dataset.key(one.asset), one.check)
        if found := standing(instance, key, newest.get(one.asset)):
            yield one, found

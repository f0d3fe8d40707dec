"""The metrics zone, as a warehouse takes it: partitions by their value, of whatever period."""

from __future__ import annotations

from collections import Counter

from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition

ZONE = "metrics"


def metrics_of(
    lakehouse: Lakehouse, dataset: str
) -> tuple[dict[str, Partition], dict[str, LakehouseError]]:
    """Partitions that are there, and what is wrong with those that cannot be read; by value.

    Two of one value, such as a week's Monday and that day, are among the latter: the warehouse
    knows partitions by value, and would show claims twice if it had both.
    """
    wrong: dict[str, LakehouseError] = {}
    found = lakehouse.partitions(ZONE, dataset, damaged=wrong)
    counts = Counter([*(partition.value for partition in found), *wrong])
    if twice := {value for value, count in counts.items() if count > 1}:
        names: dict[str, list[str]] = {value: [] for value in twice}
        for listed in lakehouse.listed(ZONE, dataset):
            if listed.value in twice:
                names[listed.value].append(f"{listed.key}={listed.value}")
        folder = lakehouse.uri(ZONE, dataset)
        wrong |= {value: _twice(folder, sorted(those)) for value, those in names.items()}
    return {p.value: p for p in found if p.value not in wrong}, wrong


def _twice(folder: str, names: list[str]) -> LakehouseError:
    return LakehouseError(
        f"{folder}: only one of {' and '.join(names)} can be in the warehouse; remove the other, "
        "whose period the contract no longer has, and sync again"
    )

"""Whether a training would only make the champion once more.

Windows that are given as dates do not move with the claims: as long as contract and claims before
the out-of-time window are as they were, the same model comes out, whatever came after.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from fraud_mlops.contract import Contract, DateSplit
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.ranges import partition_of
from fraud_mlops.moments import TICK
from fraud_mlops.registry.bundle import read_manifest
from fraud_mlops.registry.pointers import read_pointer

_NOT_LEARNT = {"source", "description", "personal", "drift", "checks", "gate"}
"""What no model depends on beside the claims themselves, which are compared by their content.

`alerts` is none of it: the threshold is in the bundle, and a training brings it up to date, or
notes in the manifest that it is the same."""


def champion_again(contract: Contract, lakehouse: Lakehouse, models_uri: str) -> str | None:
    """The champion's version where a training would learn what it has learnt; else None.

    Raises FraudMlopsError for a damaged pointer, manifest or partition.
    """
    if not isinstance(contract.split, DateSplit):
        return None
    pointer = read_pointer(models_uri, contract.name, "champion")
    if pointer is None:
        return None
    manifest = read_manifest(models_uri, contract.name, pointer.version)
    try:
        learnt = Contract.model_validate(manifest.contract)
    except ValidationError:  # of another release
        return None
    all_known = manifest.labels_as_of >= contract.split.oot.start
    if not all_known or _told(contract, learnt) != _told(learnt, learnt):
        return None
    last = partition_of(contract.split.oot.start - TICK, contract.partition)
    now = {p.value: p.data_version for p in lakehouse.partitions("raw", contract.name)}
    same = _until(last, now) == _until(last, manifest.data_versions)
    return pointer.version if same else None


def _told(contract: Contract, learnt: Contract) -> dict[str, object]:
    """Columns that the contract leaves to be told from the data are those that were."""
    left = [name for name in ("numeric", "categorical") if getattr(contract, name) is None]
    contract = contract.model_copy(update={name: getattr(learnt, name) for name in left})
    return contract.model_dump(exclude=_NOT_LEARNT)


def _until(last: str, versions: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(value, version) for value, version in versions.items() if value <= last}

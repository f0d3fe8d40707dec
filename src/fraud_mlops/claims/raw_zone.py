"""The raw zone as it stands: which partitions, under which contract, with which known truth."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from fraud_mlops.command_options import options
from fraud_mlops.contract import Contract
from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed, Partition
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.sources import FileSource, SyntheticSource

ZONE = "raw"
TRUTH_ZONE = "truth"
_CONTRACT, _TRUTH, _SAMPLE = "contract", "truth", "sample"


class RawClaims(Protocol):
    """Raw partitions that are pinned, whoever wrote them."""

    @property
    def contract(self) -> Contract:
        """Resolved."""

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """In order of value."""

    @property
    def truths(self) -> Mapping[str, str]:
        """File of true fraud probabilities of each partition, where they are known."""

    @property
    def sample(self) -> str | None:
        """Of which rows they are a sample; None for all claims that there are."""


class RawZone(BaseModel):
    """RawClaims as found in the lakehouse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: Contract
    partitions: tuple[Partition, ...]
    truths: dict[str, str]
    sample: str | None = None


def partition_metadata(
    contract: Contract, truth: str | None, sample: str | None = None
) -> dict[str, str]:
    """What a raw partition says of itself, so that others can read it without its source.

    truth: name of the file of true fraud probabilities in the truth zone. sample: of which rows.
    """
    told = {"contract_version": str(contract.version), _CONTRACT: contract.model_dump_json()}
    return told | ({_TRUTH: truth} if truth else {}) | ({_SAMPLE: sample} if sample else {})


def pin_raw_zone(contract: Contract, lakehouse: Lakehouse, *, named: str | None = None) -> RawZone:
    """Pins every raw partition that there is now.

    named: how the person calls the dataset, a name or a path, for the commands in messages.

    Feature columns that the contract leaves to inference are those the partitions were written
    with. Raises LakehouseError when the zone is empty, and when partitions were written under
    another version of the contract, or with other columns than the newest.
    """
    told_options = options(named or contract.name, root=lakehouse.root)
    partitions = lakehouse.partitions(ZONE, contract.name)
    if not any(partition.rows for partition in partitions):
        raise LakehouseError(
            f"{lakehouse.uri(ZONE, contract.name)}: holds no claims yet. Ingest some: "
            f"python flows/ingest_flow.py run {told_options}"
        )
    _require_period(contract, lakehouse, partitions)
    told = {p.value: lakehouse.metadata(p) for p in partitions if p.rows}
    stored = {value: _contract(told_options, value, found) for value, found in told.items()}
    newest = stored[max(stored)]
    resolved = with_columns_of(contract, newest)
    if odd := [value for value, other in stored.items() if not _alike(other, resolved)]:
        raise LakehouseError(
            f"{contract.name}: {len(odd)} raw partitions, {odd[0]} the first and {odd[-1]} the "
            f"last, were written under another version or with other columns than version "
            f"{contract.version} has now. Ingest them again: python flows/ingest_flow.py run "
            f"{told_options} --partition-start {odd[0]} --partition-end {odd[-1]}"
        )
    truths = {v: lakehouse.uri(TRUTH_ZONE, contract.name, m[_TRUTH]) for v, m in told.items()
              if _TRUTH in m}  # fmt: skip
    sample = told[max(told)].get(_SAMPLE)
    return RawZone(contract=resolved, partitions=tuple(partitions), truths=truths, sample=sample)


def require_one_period(contract: Contract, lakehouse: Lakehouse) -> None:
    """Raises LakehouseError where the zone has partitions of another size than the contract's.

    Side by side they would hold claims twice.
    """
    _require_period(contract, lakehouse, lakehouse.listed(ZONE, contract.name))


def _require_period(
    contract: Contract, lakehouse: Lakehouse, partitions: Sequence[Partition | Listed]
) -> None:
    others = [p for p in partitions if p.key != contract.partition]
    if others:
        raise LakehouseError(
            f"{contract.name}: claims are kept by {others[0].key} ({others[0].value} to "
            f"{others[-1].value}), and the contract says `partition: {contract.partition}` now. "
            "Give the dataset another `name`, or move what was written away "
            f"({_places(contract, lakehouse)}) and ingest again."
        )


def _places(contract: Contract, lakehouse: Lakehouse) -> str:
    return ", ".join(lakehouse.uri(z, contract.name) for z in (ZONE, "ml_outputs", "metrics"))


def require_same_source(contract: Contract, lakehouse: Lakehouse) -> None:
    """Raises LakehouseError where the zone holds claims of another source.

    A contract that was copied, its name too, would replace another dataset's claims, scores and
    champion. The newest partition that can be read speaks for the zone.
    """
    there = _readable(contract, lakehouse)
    stored = _source(lakehouse.metadata(there[-1])) if there else None
    if stored is None or _is_same(contract.source, stored):
        return
    held, moved = "generated claims", ""
    if isinstance(stored, FileSource):
        held = f"claims of {stored.uri}"
        moved = f"where the source has moved, say `source.same_as: [{json.dumps(stored.uri)}]`; "
    raise LakehouseError(
        f"{contract.name}: {lakehouse.uri(ZONE, contract.name)} holds {held}, and the contract has "
        f"another source. Give another dataset another `name`; {moved}to begin anew, move what was "
        f"written away ({_places(contract, lakehouse)}) and ingest again."
    )


def _source(metadata: Mapping[str, str]) -> FileSource | SyntheticSource | None:
    """None where it was written by a release that said it otherwise."""
    try:
        return Contract.model_validate_json(metadata[_CONTRACT]).source
    except (KeyError, ValidationError):
        return None


def _is_same(source: FileSource | SyntheticSource, stored: FileSource | SyntheticSource) -> bool:
    """Generated claims are one source, with whatever settings."""
    if isinstance(source, FileSource) and isinstance(stored, FileSource):
        return _place(stored.uri) in map(_place, (source.uri, *source.same_as))
    return type(source) is type(stored)


def _place(uri: str) -> str:
    """A folder of this machine is the same by whatever link one comes to it."""
    return os.path.realpath(uri.removeprefix("file://")) if is_local(uri) else uri.rstrip("/")


def require_alike(
    contract: Contract, lakehouse: Lakehouse, sample: str | None, written: PartitionRange | None
) -> None:
    """Raises LakehouseError where a sample would replace all claims, or stand beside another share.

    Histories of entities would be wrong. The newest partition that can be read speaks for the zone.
    """
    if sample is None and written is None:
        return
    there = _readable(contract, lakehouse)
    place = lakehouse.uri(ZONE, contract.name)
    if sample and there and _SAMPLE not in lakehouse.metadata(there[-1]):
        raise LakehouseError(
            f"{contract.name}: {place} holds all claims, and a sample ({sample}) would replace "
            "them. Give it a lakehouse of its own: --output-uri FOLDER (and --model-uri, where "
            "FRAUD_MODEL_URI is set)"
        )
    beside = [p for p in there if written is not None and p.value not in written]
    if beside and (other := lakehouse.metadata(beside[-1]).get(_SAMPLE)) != sample:
        raise LakehouseError(
            f"{contract.name}: {place} holds {_shares(other)}, and {_shares(sample)} would stand "
            "beside it. Ingest every partition at once, without --partition-start"
        )


def _shares(sample: str | None) -> str:
    return f"a sample ({sample})" if sample else "all claims"


def with_columns_of(contract: Contract, resolved: Contract | None) -> Contract:
    """The contract; what it leaves to inference is as it was found before."""
    if contract.resolved or resolved is None:
        return contract
    found = {kind: getattr(resolved, kind) for kind in ("numeric", "categorical")}
    missing = {kind: names for kind, names in found.items() if getattr(contract, kind) is None}
    return Contract.model_validate(contract.model_dump() | missing)


def known_beside(
    contract: Contract, lakehouse: Lakehouse, written: PartitionRange | None
) -> Contract | None:
    """The contract of the newest raw partition that is not about to be replaced, if any.

    One file more must not turn a column of one partition from a number into a category. Without
    `written`, where all are replaced, of the newest one that says it.
    """
    told_options = options(contract.name, root=lakehouse.root)
    for partition in reversed(_readable(contract, lakehouse)):
        if written is not None and partition.value in written:
            continue
        try:
            found = _contract(told_options, partition.value, lakehouse.metadata(partition))
        except LakehouseError:
            if written is None:
                continue
            raise
        if found.version == contract.version:
            return found
    return None


def _readable(contract: Contract, lakehouse: Lakehouse) -> list[Partition]:
    """Those with claims, in order; a damaged one is not asked: it is mended by writing it anew."""
    return [p for p in lakehouse.partitions(ZONE, contract.name, damaged={}) if p.rows]


def in_range(partitions: Sequence[Partition], wanted: PartitionRange | None) -> list[Partition]:
    """Those of the range, in order; all without one."""
    return [p for p in partitions if wanted is None or p.value in wanted]


def _contract(told_options: str, value: str, metadata: Mapping[str, str]) -> Contract:
    try:
        return Contract.model_validate_json(metadata[_CONTRACT])
    except (KeyError, ValidationError):
        raise LakehouseError(
            f"raw partition {value} does not say which contract it was written under; ingest it "
            f"again: python flows/ingest_flow.py run {told_options} --partition-start {value}"
        ) from None


def _alike(one: Contract, other: Contract) -> bool:
    """Rows written under the one can be read under the other."""
    return one.version == other.version and _columns(one) == _columns(other)


def _columns(contract: Contract) -> tuple[object, ...]:
    entities = tuple(sorted(contract.entities))
    features = set(contract.numeric or ()), set(contract.categorical or ())
    return bool(contract.amount), entities, *features, contract.partition

"""From a contract's source to raw partitions: read, validate, quarantine, order, publish.

Nothing is published before the whole source has been validated. Until then valid rows wait in
a local staging file and bad rows in a local quarantine file, so that memory stays flat.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from fraud_mlops.claims.faults import hints
from fraud_mlops.claims.intake import Intake
from fraud_mlops.claims.looking import still_aside
from fraud_mlops.claims.origins import FileOrigin, Origin, SyntheticOrigin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.raw_zone import (
    TRUTH_ZONE,
    ZONE,
    known_beside,
    partition_metadata,
    require_alike,
    require_one_period,
    require_same_source,
    with_columns_of,
)
from fraud_mlops.claims.report import ColumnProfile, IngestReport
from fraud_mlops.claims.schema import masked_in_source, raw_schema
from fraud_mlops.claims.staging import Staging
from fraud_mlops.claims.validation import Rules
from fraud_mlops.contract import EVENT_TIME, Contract
from fraud_mlops.errors import QualityError, SourceError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of
from fraud_mlops.lakehouse.stores import list_children
from fraud_mlops.sources import SyntheticSource


def ingest(
    contract: Contract,
    lakehouse: Lakehouse,
    *,
    launch_id: str,
    as_of: datetime,
    hindsight: bool = False,
    sample_size: int | None,
    seed: int | None = None,
    run: str = "",
    partitions: PartitionRange | None = None,
    progress: Callable[[str], None] = print,
) -> IngestReport:
    """Reads the contract's source as known at `as_of` into the lakehouse's raw zone.

    hindsight: `as_of` is long past: claims of files that came later are left out, and labels that
    were known later are blank; otherwise a source that tells of the future is at fault.
    launch_id: names the quarantine (and truth) file; a retry under one id replaces them.
    sample_size: rows wanted, evenly spaced over the source, for a zone that holds a sample or
    nothing; of a generated source, its claims.
    seed: overrides a generated source's; files are sampled without chance.
    run: stored in the metadata of every partition.
    partitions: the ones to write, all of them, also those without a claim; what the source has
    beyond them is neither written nor quarantined, and a partition comes out the same whatever
    range it is written with. Without it all partitions that the source has claims of.

    Labels that the contract's delay puts after `as_of` are blank and counted as immature.
    Raises SourceError when the source cannot be read, LakehouseError where the zone has claims of
    another source, partitions of another size, or a sample would mix with what is none, and
    QualityError when more than `quality.max_bad_share` of the rows of `partitions` break the
    contract, or so many of the whole source have no readable time; neither publishes a partition.
    """
    as_of = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    if sample_size is not None and sample_size < 1:
        raise SourceError(f"sample size is {sample_size}; give 1 or more, or none for all rows")
    require_one_period(contract, lakehouse)
    file = f"{launch_id}.parquet"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claims-")))
        origin = origin_of(
            contract, lakehouse, as_of, hindsight, sample_size, seed, folder, partitions
        )
        contract = origin.contract
        require_same_source(contract, lakehouse)
        require_alike(contract, lakehouse, origin.sample, partitions)
        masked = masked_in_source(contract, origin.names)
        bad_rows = folder / "quarantine.parquet"
        quarantine = stack.enter_context(closing(Quarantine(bad_rows, masked)))
        staging = stack.enter_context(Staging(folder, raw_schema(contract)))
        rules = Rules(contract, as_of, origin.names)
        intake = Intake(origin, rules, staging, quarantine, progress, partitions)
        intake.read_all()
        intake.settle_repeats()
        uri = quarantine.publish(lakehouse.uri("quarantine", contract.name, file))
        bad_share = _bad_share(intake, len(quarantine))
        _check_quality(contract, quarantine, intake, bad_share, uri)
        summary = staging.summary()
        truth_uri = origin.publish_truth(lakehouse.uri(TRUTH_ZONE, contract.name, file))
        metadata = {"dataset": contract.name, "launch_id": launch_id, "run": run}
        metadata |= partition_metadata(contract, file if truth_uri else None, origin.sample)
        published = _publish(contract, lakehouse, staging, partitions, metadata)
    return IngestReport(
        contract=contract,
        read=intake.read,
        kept=summary.rows,
        quarantined=len(quarantine),
        bad_share=bad_share,
        reasons=dict(quarantine.reasons.most_common()),
        quarantine_uri=uri,
        immature_labels=summary.immature_labels,
        labels_added=intake.labels_added,
        fraud_rate=summary.fraud_rate,
        sample=origin.sample,
        warnings=(
            *origin.warnings,
            *_empty_columns(summary.columns),
            *_left_behind(contract, lakehouse, published, partitions, as_of if hindsight else None),
        ),
        partitions=tuple(published),
        truth_uri=truth_uri,
        first_event=_utc(summary.first_event),
        last_event=_utc(summary.last_event),
        columns=summary.columns,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def origin_of(
    contract: Contract,
    lakehouse: Lakehouse,
    as_of: datetime,
    hindsight: bool,
    sample_size: int | None,
    seed: int | None,
    folder: Path,
    partitions: PartitionRange | None,
) -> Origin:
    """The claims that an ingest into this lakehouse reads: without the files that are set aside,
    with columns that the contract does not name read as the zone has them."""
    given = contract
    before = None if contract.resolved else known_beside(contract, lakehouse, partitions)
    if partitions is not None:
        contract = with_columns_of(contract, before)
    if isinstance(contract.source, SyntheticSource):
        return SyntheticOrigin(contract, as_of, sample_size, seed, folder, partitions)
    aside = still_aside(given, lakehouse)
    return FileOrigin(contract, as_of, sample_size, aside, hindsight=hindsight, before=before)


def _bad_share(intake: Intake, bad: int) -> float:
    """Of the rows read. Rows without a time, which every range reads, are set against the source.

    A range of one partition would else answer for the broken times of all others.
    """
    timed = intake.read - intake.timeless
    shares = [intake.timeless / max(intake.source_rows, 1)]
    shares += [(bad - intake.timeless) / timed] if timed else []
    whole = intake.read == intake.source_rows
    return bad / max(intake.read, 1) if whole else max(shares)


def _check_quality(
    contract: Contract, quarantine: Quarantine, intake: Intake, bad_share: float, uri: str | None
) -> None:
    if not intake.source_rows:
        raise SourceError(f"{contract.name}: not one claim happened by the moment of this run")
    bad, read, limit = len(quarantine), intake.read, contract.quality.max_bad_share
    if bad_share <= limit and bad_share < 1:
        return
    reasons = "\n".join(
        f"  {count:,} {reason}, e.g. {quarantine.examples[reason]}"
        for reason, count in quarantine.reasons.most_common()
    )
    reasons += "".join(f"\n  {hint}" for hint in hints(contract, quarantine.reasons))
    raise QualityError(
        f"{contract.name}: {bad:,} of {read:,} rows break the contract, more than "
        f"quality.max_bad_share = {limit:.1%} allows. Nothing was published.\n{reasons}\n"
        f"Every one of them is in {uri}. Mend the source or the contract."
    )


def _empty_columns(columns: Iterable[ColumnProfile]) -> list[str]:
    return [f"column {c.name!r} is empty (all null)" for c in columns if c.missing == 1]


def _left_behind(
    contract: Contract,
    lakehouse: Lakehouse,
    published: Sequence[Partition],
    partitions: PartitionRange | None,
    until: datetime | None,
) -> list[str]:
    """Raw partitions that a whole source has nothing of any more; nobody asked to empty them.

    until: in hindsight, up to when the source was read; partitions that begin later are not told.
    """
    if partitions is not None:
        return []
    there = {name.rpartition("=")[2] for name in list_children(lakehouse.uri(ZONE, contract.name))}
    left = sorted(there - {partition.value for partition in published})
    if until is not None:
        left = [value for value in left if value <= partition_of(until, contract.partition)]
    return [
        f"raw partition {value} has no claims in the source, and stays as it is; "
        f"to empty it, ingest it by --partition-start {value}"
        for value in left
    ]


def _publish(
    contract: Contract,
    lakehouse: Lakehouse,
    staging: Staging,
    partitions: PartitionRange | None,
    metadata: dict[str, str],
) -> list[Partition]:
    place = ZONE, contract.name, contract.partition
    schema = raw_schema(contract)
    batches = by_partition(staging.in_order(), EVENT_TIME, contract.partition)
    written = lakehouse.write_sorted(*place, batches, schema, metadata)
    empty = set(partitions.values() if partitions else ()) - {p.value for p in written}
    written += [lakehouse.write(*place, value, (), schema, metadata) for value in empty]
    return sorted(written, key=lambda partition: partition.value)

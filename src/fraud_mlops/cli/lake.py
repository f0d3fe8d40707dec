"""`lake`: the partitions of a lakehouse, and their care."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fraud_mlops.cli.options import CONTRACT, dataset_option, output_option
from fraud_mlops.cli.printing import minute, number, say, show_table
from fraud_mlops.command_options import FIRST_RUN, options
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.lakehouse.partitions import Lakehouse, Listed

_ZONES = ("raw", "ml_outputs", "metrics")
_zone_option = click.option("--zone", type=click.Choice(_ZONES), help="Only this one.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


class Age(click.ParamType):  # type: ignore[type-arg]
    """`400d` as the moment that long ago."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from fraud_mlops.fields import parse_duration

        if isinstance(value, datetime):
            return value
        try:
            age: timedelta = parse_duration(value)
            return datetime.now(UTC) - age
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


def require_dataset(lakehouse: Lakehouse, dataset: str) -> None:
    """Raises SettingsError for a name that neither the lakehouse nor the catalog knows."""
    from fraud_mlops import catalog
    from fraud_mlops.errors import SettingsError
    from fraud_mlops.lakehouse.stores import list_children

    given = click.get_current_context().meta.get(CONTRACT)
    there = {name for zone in _ZONES for name in list_children(lakehouse.uri(zone))}
    if dataset in there or dataset == given or dataset in (known := catalog.available()):
        return
    raise SettingsError(
        f"no dataset is called {dataset!r}: in {lakehouse.root} there are "
        f"{', '.join(sorted(there)) or 'none'}; contracts are of {', '.join(sorted(known))}"
    )


@click.group()
def lake() -> None:
    """Partitions: what there is, whether it is whole, and what may go."""


@lake.command("list")
@click.option("--dataset", help="Only this one, partition by partition.")
@output_option()
@_zone_option
def list_partitions(dataset: str | None, output_uri: str, zone: str | None) -> None:
    """Zones and datasets, by one listing each; no file is opened."""
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.lakehouse.stores import list_children

    lakehouse, zones = Lakehouse(output_uri), [zone] if zone else _ZONES
    if dataset is not None:
        require_dataset(lakehouse, dataset)
        listed = {name: lakehouse.listed(name, dataset) for name in zones}
        if not any(listed.values()):
            where = f" in {zone}" if zone else ""
            say(
                f"{lakehouse.root}: there is nothing of {dataset}{where} yet. A run makes it: "
                f"{FIRST_RUN} {options(dataset, root=output_uri)}"
            )
            return
        for name in zones:
            rows = [(p.value, _mib(p.bytes), _when(p)) for p in listed[name]]
            columns = ["partition", "MiB", "written (UTC)"]
            show_table(columns, rows, title=f"{name}, {dataset}", right=["MiB"])
        return
    lines = []
    for name in zones:
        for each in list_children(lakehouse.uri(name)):
            if found := lakehouse.listed(name, each):
                latest = max(found, key=lambda p: p.changed)
                span = f"{found[0].value} to {found[-1].value}"
                total = _mib(sum(p.bytes for p in found))
                lines.append((name, each, len(found), span, total, _when(latest)))
    if not lines:
        what = f"no {zone} zone" if zone else "nothing"
        say(f"{lakehouse.root}: there is {what} yet. A run makes it: {FIRST_RUN}")
        return
    columns = ["zone", "dataset", "partitions", "from, to", "MiB", "last written (UTC)"]
    show_table(columns, lines, right=["partitions", "MiB"])


def _mib(size: int) -> str:
    return f"{size / 2**20:,.2f}"


def _when(listed: Listed) -> str:
    return minute(datetime.fromtimestamp(listed.changed, UTC)) if listed.changed else ""


@lake.command()
@click.argument("partition")
@dataset_option()
@output_option()
@click.option("--zone", type=click.Choice(_ZONES), default="raw", show_default=True)
def inspect(partition: str, dataset: str, output_uri: str, zone: str) -> None:
    """What PARTITION says of itself, its row groups and its columns."""
    from fraud_mlops.lakehouse.parquet import open_parquet, user_metadata

    listed = _named(output_uri, zone, dataset, partition)
    with open_parquet(listed.uri) as (parquet, _):
        told, metadata, schema = user_metadata(parquet), parquet.metadata, parquet.schema_arrow
    facts = [("uri", listed.uri), ("rows", f"{metadata.num_rows:,}")]
    facts += [("MiB", _mib(listed.bytes)), ("written", f"{_when(listed)} UTC")]
    facts += [(k, v) for k, v in sorted(told.items()) if len(v) < 100]
    show_table(["", ""], facts)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows = [(i, f"{g.num_rows:,}", _mib(g.total_byte_size)) for i, g in enumerate(groups)]
    show_table(["row group", "rows", "MiB in memory"], rows, right=["rows", "MiB in memory"])
    columns = []
    for place, field in enumerate(schema):
        chunks = [g.column(place) for g in groups] if not field.type.num_fields else []
        stored = f"{sum(c.total_compressed_size for c in chunks) / 2**10:,.1f}" if chunks else None
        nulls = sum(c.statistics.null_count or 0 for c in chunks if c.statistics)
        columns.append((field.name, field.type, stored, number(nulls) if chunks else None))
    show_table(["column", "type", "KiB", "missing"], columns, right=["KiB", "missing"])


def _named(output_uri: str, zone: str, dataset: str, value: str) -> Listed:
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse

    lakehouse = Lakehouse(output_uri)
    for listed in lakehouse.listed(zone, dataset):
        if listed.value == value:
            return listed
    raise LakehouseError(
        f"{lakehouse.uri(zone, dataset)}: has no partition {value!r}; "
        f"fraud-mlops lake list {options(dataset, root=output_uri)} shows what there is"
    )


@lake.command()
@dataset_option()
@output_option()
@_zone_option
def verify(dataset: str, output_uri: str, zone: str | None) -> None:
    """Read every partition through: its content against its hash, its columns against the zone's.

    Ends with exit code 1 when one cannot be used.
    """
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.partitions import verify as verify_zone

    lakehouse = Lakehouse(output_uri)
    require_dataset(lakehouse, dataset)
    good, wrong = 0, []
    for name in [zone] if zone else _ZONES:
        for verdict in verify_zone(lakehouse, name, dataset):
            if verdict.wrong is None:
                good += 1
            else:
                wrong.append((name, verdict.listed.value, verdict.wrong))
    if wrong:
        show_table(["zone", "partition", "what is wrong"], wrong)
        raise LakehouseError(f"{len(wrong)} of {good + len(wrong)} partitions cannot be used")
    say(f"{good} of {good} partitions of {dataset} are whole, with the columns they should have.")


@lake.command()
@dataset_option()
@output_option()
@_zone_option
@dry_run_option
def compact(dataset: str, output_uri: str, zone: str | None, dry_run: bool) -> None:
    """Cut partitions again whose row groups are too many, too large or compressed otherwise.

    The rows stay as they are; the data version covers the bytes, and becomes another, so that
    what was made of the partition counts as outdated. One that a run replaces meanwhile is left,
    and one that is damaged. Ends with exit code 1 where one is left.
    """
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.partitions import compact_zone

    lakehouse, rows, wrong = Lakehouse(output_uri), [], []
    require_dataset(lakehouse, dataset)
    for name in [zone] if zone else _ZONES:
        for done in compact_zone(lakehouse, name, dataset, dry=dry_run):
            if done.wrong is not None:
                wrong.append((name, done.listed.value, done.wrong))
            else:
                groups, before = f"{done.groups:,}", _mib(done.listed.bytes)
                rows.append((name, done.listed.value, groups, before, _mib(done.bytes)))
    columns = ["zone", "partition", "row groups before", "MiB before", "MiB"]
    if rows:
        show_table(columns, rows, right=columns[2:])
    say(f"{counted(len(rows), 'partition')} {_would(len(rows), dry_run)} cut again.")
    if wrong:
        show_table(["zone", "partition", "why it is left as it is"], wrong)
        raise LakehouseError(
            f"{counted(len(wrong), 'partition')} could not be looked into, or cut again"
        )


@lake.command()
@dataset_option()
@output_option()
@click.option("--zone", type=click.Choice(_ZONES), required=True)
@click.option(
    "--older-than", type=Age(), required=True, help="Partitions that ended that long ago: 730d."
)
@dry_run_option
def expire(dataset: str, output_uri: str, zone: str, older_than: datetime, dry_run: bool) -> None:
    """Remove partitions that ended long ago. Old model versions: fraud-mlops models expire.

    One that a run replaces meanwhile is left. Ends with exit code 1 where one is left.
    """
    from fraud_mlops.errors import LakehouseError, ReplacedError
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.expiry import old_partitions, remove_partition

    lakehouse = Lakehouse(output_uri)
    require_dataset(lakehouse, dataset)
    gone, left = [], []
    for listed in old_partitions(lakehouse, zone, dataset, older_than):
        try:
            if not dry_run:
                remove_partition(listed)
            gone.append(listed)
        except ReplacedError as error:
            left.append((listed.value, str(error).removeprefix(f"{listed.uri}: ")))
    _say_expired(gone, zone, older_than, dry_run)
    if gone and zone == "metrics" and not dry_run:
        _say_warehouse(dataset, output_uri)
    if left:
        show_table(["partition", "why it is left as it is"], left)
        raise LakehouseError(f"{counted(len(left), 'partition')} could not be removed")


def _say_warehouse(dataset: str, output_uri: str) -> None:
    from fraud_mlops.maintenance.erasure_warehouse import sync_command

    say(f"The warehouse keeps what was synced of them, until {sync_command(dataset, output_uri)}")


def _say_expired(found: Sequence[Listed], zone: str, before: datetime, dry_run: bool) -> None:
    if found:
        rows = [(p.value, _mib(p.bytes), _when(p)) for p in found]
        show_table(["partition", "MiB", "written (UTC)"], rows, right=["MiB"])
    many, verb = counted(len(found), "partition"), _would(len(found), dry_run)
    say(f"{many} of {zone} that ended before {before:%F} {verb} removed.")


def _would(many: int, dry_run: bool) -> str:
    if dry_run:
        return "would be"
    return "was" if many == 1 else "were"

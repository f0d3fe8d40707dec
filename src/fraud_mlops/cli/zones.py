"""`scores` and `metrics`: the zones a run publishes, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from fraud_mlops.cli.options import dataset_option, output_option, same_options
from fraud_mlops.cli.printing import interval, minute, number, say, show_table
from fraud_mlops.command_options import FIRST_RUN

if TYPE_CHECKING:
    import pyarrow as pa

    from fraud_mlops.lakehouse.partitions import Partition


_OF_DRIFT = ("verdict", "drifted_share", "classifier_auc")

_partition_option = click.option("--partition", help="Only this one, e.g. 2024-05.")


@click.command()
@dataset_option()
@output_option()
@_partition_option
@click.option("--alerts", is_flag=True, help="Only claims for people to look at.")
@click.option("--top", default=20, show_default=True, type=click.IntRange(1))
def scores(dataset: str, output_uri: str, partition: str | None, alerts: bool, top: int) -> None:
    """The claims most likely to be fraud, with the reasons of those that were alerted."""
    found = partitions_of(output_uri, "ml_outputs", dataset, partition)
    best = top_claims(output_uri, found, top, alerts_only=alerts)
    rows = [
        (
            row["claim_id"],
            minute(row["event_time"]),
            number(row["score"]),
            f"{row['probability']:.1%}",
            "yes" if row["alert"] else "",
            "\n".join(row["reasons"]),
            row["model_version"],
        )
        for row in best
    ]
    columns = ["claim", "event (UTC)", "score", "probability", "alert", "reasons", "model"]
    show_table(columns, rows, right=["score", "probability"])
    say(f"{len(rows):,} of {sum(p.rows for p in found):,} scored claims in {_span(found)}")


def _span(found: Sequence[Partition]) -> str:
    first, last = found[0], found[-1]
    values = first.value if first == last else f"{first.value} to {last.value}"
    return f"{first.zone}, {first.key} {values}"


def top_claims(
    output_uri: str, found: Sequence[Partition], top: int, *, alerts_only: bool
) -> list[dict[str, Any]]:
    """The `top` rows by score in flat memory; equal scores in order of the claim's id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from fraud_mlops.lakehouse.partitions import Lakehouse

    order = [("score", "descending"), ("claim_id", "ascending")]
    best: pa.Table | None = None
    for batch in Lakehouse(output_uri).batches(found):
        table = pa.Table.from_batches([batch.filter(batch["alert"]) if alerts_only else batch])
        table = table if best is None else pa.concat_tables([best, table])
        best = table.take(pc.select_k_unstable(table, k=top, sort_keys=order))
    return [] if best is None else best.to_pylist()


@click.command()
@dataset_option()
@output_option()
@_partition_option
@click.option("--window", help="Only this one, e.g. oot, drift_oot, partition.")
@click.option(
    "--slices", is_flag=True, help="Slices and single features too, and the limits these have."
)
def metrics(
    dataset: str, output_uri: str, partition: str | None, window: str | None, slices: bool
) -> None:
    """How good the scores are, and how far the claims have moved from those trained on."""
    import pyarrow.compute as pc

    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse

    found = partitions_of(output_uri, "metrics", dataset, partition)
    table = Lakehouse(output_uri).read(found)
    windows = sorted(set(table["window"].to_pylist()))
    if window and window not in windows:
        raise LakehouseError(f"no metrics of window {window!r}; there are {', '.join(windows)}")
    if not slices:
        table = table.filter(pc.equal(table["slice"], "all"))
    for name in [window] if window else windows:
        rows = table.filter(pc.equal(table["window"], name)).to_pylist()
        if name == "partition":
            _show_by_partition(rows)
        elif name.startswith("drift_") and not slices:
            _show_drift(name, rows)
        else:
            _show_window(name, rows)


def _show_window(name: str, rows: Iterable[dict[str, Any]]) -> None:
    shown = [
        (
            row["partition"],
            row["slice"],
            row["metric"],
            _value(row["metric"], row["value"]),
            interval(row["low"], row["high"]),
            row["model_version"],
        )
        for row in rows
        if math.isfinite(row["value"])
    ]
    columns = ["partition", "slice", "metric", "value", "95 % interval", "model"]
    show_table(columns, shown, title=f"Window {name}", right=["value"])


def _value(metric: str, value: float | None) -> str:
    """A verdict in the word that the pipeline has for its number; without one, not judged."""
    from fraud_mlops.monitoring.drift_report import DRIFT_VERDICTS

    if metric == "verdict":
        if value is None:
            return "not judged"
        for word, verdict in DRIFT_VERDICTS.items():
            if value == verdict:
                return word
    return number(value)


def _show_drift(window: str, rows: Sequence[dict[str, Any]]) -> None:
    """One line a partition. The contract's limits of PSI stand with the features they are for."""
    models = {row["partition"]: row["model_version"] for row in rows}
    lines = [
        (value, *(_value(name, found.get(name)) for name in _OF_DRIFT), models[value])
        for value, found in _by_partition(rows).items()
    ]
    shown = [name.replace("_", " ") for name in _OF_DRIFT]
    columns = ["partition", *shown, "model"]
    show_table(columns, lines, title=f"Window {window}", right=shown[1:])


def _show_by_partition(rows: Sequence[dict[str, Any]]) -> None:
    """One line a partition, on the labels known by the time of the run."""
    names = list(dict.fromkeys(row["metric"] for row in rows))
    lines = [
        (value, *(_value(name, found.get(name)) for name in names))
        for value, found in _by_partition(rows).items()
    ]
    shown = [name.replace("_", " ") for name in names]
    show_table(["partition", *shown], lines, title="By partition", right=shown)


def _by_partition(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["partition"], {})[row["metric"]] = row["value"]
    return found


def partitions_of(
    output_uri: str, zone: str, dataset: str, value: str | None = None
) -> list[Partition]:
    """Partitions of a dataset in a zone; LakehouseError says what there is when there is none."""
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse, Listed
    from fraud_mlops.lakehouse.stores import list_children

    lakehouse = Lakehouse(output_uri)
    damaged: dict[Listed, LakehouseError] = {}
    found = lakehouse.partitions(zone, dataset, damaged=damaged)
    for listed, error in damaged.items():
        if value in (None, listed.value):
            raise error
    if not found:
        names = ", ".join(list_children(lakehouse.uri(zone)))
        told = same_options(dataset, root=output_uri)
        raise LakehouseError(
            f"{lakehouse.uri(zone)}: holds nothing of {dataset!r}"
            + (f", only of {names}. " if names else " nor of any other dataset. ")
            + f"Run it: {FIRST_RUN} {told}"
        )
    chosen = [p for p in found if value in (None, p.value)]
    if not chosen:
        raise LakehouseError(
            f"{lakehouse.uri(zone, dataset)}: has no partition {value!r}, "
            f"only {found[0].value} to {found[-1].value}"
        )
    return chosen

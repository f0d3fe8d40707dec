"""`summary`: everything a newcomer wants to see after a run, on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fraud_mlops.cli.models import show_metrics
from fraud_mlops.cli.options import dataset_option, model_option, output_option, same_options
from fraud_mlops.cli.printing import say, show_table
from fraud_mlops.cli.zones import top_claims
from fraud_mlops.command_options import FIRST_RUN

if TYPE_CHECKING:
    from fraud_mlops.lakehouse.partitions import Partition

_ZONES = ("raw", "ml_outputs", "metrics")


@click.command()
@dataset_option()
@output_option()
@model_option()
@click.option("--top", default=5, show_default=True, type=click.IntRange(1))
def summary(dataset: str, output_uri: str, model_uri: str, top: int) -> None:
    """The champion and its figures, the zones, the top alerts, and what to do next.

    Damaged partitions are left out and named. Ends with exit code 1 when there are some.
    """
    from fraud_mlops.errors import LakehouseError

    again = f"{FIRST_RUN} {same_options(dataset, root=output_uri, models=model_uri)}"
    _champion(dataset, model_uri, again)
    found, wrong = _zones(dataset, output_uri)
    wrong += _alerts(output_uri, found["ml_outputs"], top)
    say("Next:")
    of_lake = same_options(dataset, root=output_uri)
    say(f"  fraud-mlops scores {of_lake} --alerts --top 20")
    say(f"  fraud-mlops metrics {of_lake}")
    say(f"  fraud-mlops models show {same_options(dataset, models=model_uri)}")
    if wrong:
        raise LakehouseError("\n".join(wrong))


def _champion(dataset: str, model_uri: str, first_run: str) -> None:
    from fraud_mlops.errors import RegistryError
    from fraud_mlops.registry.bundle import read_manifest
    from fraud_mlops.registry.pointers import read_pointer

    champion = read_pointer(model_uri, dataset, "champion")
    if champion is None:
        raise RegistryError(f"{dataset} has no champion in {model_uri} yet. Train one: {first_run}")
    say(f"{dataset}: champion {champion.version}, since {champion.since:%Y-%m-%d %H:%M} UTC")
    say(f"  {champion.reason}")
    if challenger := read_pointer(model_uri, dataset, "challenger"):
        say(f"  challenged by {challenger.version}: {challenger.reason}")
    show_metrics(read_manifest(model_uri, dataset, champion.version))


def _zones(dataset: str, output_uri: str) -> tuple[dict[str, list[Partition]], list[str]]:
    """Shows them. Returns each one's partitions, and what is wrong with those that are left out."""
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse, Listed

    zones: dict[str, list[Partition]] = {}
    wrong: list[str] = []
    rows = []
    for zone in _ZONES:
        damaged: dict[Listed, LakehouseError] = {}
        found = zones[zone] = Lakehouse(output_uri).partitions(zone, dataset, damaged=damaged)
        span = f"{found[0].value} to {found[-1].value}" if found else "nothing yet"
        if damaged:
            wrong += map(str, damaged.values())
            span = f"{span}, {len(damaged):,} damaged" if found else f"{len(damaged):,} damaged"
        total, mib = sum(p.rows for p in found), sum(p.bytes for p in found) / 2**20
        rows.append((zone, len(found), span, f"{total:,}", f"{mib:.1f}"))
    columns = ["zone", "partitions", "from, to", "rows", "MiB"]
    show_table(columns, rows, right=["partitions", "rows", "MiB"])
    return zones, wrong


def _alerts(output_uri: str, found: list[Partition], top: int) -> list[str]:
    """Shows them. Returns what is wrong with partitions that only reading through finds damaged."""
    import pyarrow as pa

    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.parquet import WRITE_AGAIN

    best, wrong = list[dict[str, Any]](), list[str]()
    for partition in found:
        try:
            best += top_claims(output_uri, [partition], top, alerts_only=True)
        except LakehouseError:  # of the store, or replaced meanwhile
            raise
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # of the disk, or of rights
                raise LakehouseError(f"{partition.uri}: cannot be read: {error}") from None
            wrong.append(f"{partition.uri}: damaged: {error}. {WRITE_AGAIN}")
    best.sort(key=lambda row: (-row["score"], row["claim_id"]))
    rows = [(r["claim_id"], f"{r['probability']:.0%}", "\n".join(r["reasons"])) for r in best[:top]]
    show_table(["top alerts", "probability", "reasons"], rows, right=["probability"])
    return wrong

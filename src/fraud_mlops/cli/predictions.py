"""`predictions`: what the API has answered, from its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fraud_mlops.cli.options import dataset_option, output_option
from fraud_mlops.cli.printing import number, say, show_table
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.lakehouse.partitions import Lakehouse


@click.command()
@dataset_option()
@output_option()
@click.option("--day", help="Only this one (UTC), e.g. 2026-01-31; the newest when left out.")
@click.option("--alerts", is_flag=True, help="Only claims for people to look at.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1))
def predictions(dataset: str, output_uri: str, day: str | None, alerts: bool, last: int) -> None:
    """What the scoring API has answered in a day, the latest last.

    An answer is here once its server has flushed it: after FRAUD_API_FLUSH_SECONDS.
    """
    import pyarrow.compute as pc

    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.serving.logged import read_predictions

    lakehouse = Lakehouse(output_uri)
    day = _day(lakehouse, dataset, day)
    found = read_predictions(lakehouse, dataset, (day, day))
    chosen = found.filter(pc.field("alert")) if alerts else found
    shown = chosen.slice(max(0, chosen.num_rows - last)).to_pylist()
    columns = ["scored (UTC)", "claim", "score", "probability", "alert", "reasons", "role"]
    columns += ["client", "model"]
    show_table(columns, map(_line, shown), right=["score", "probability"])
    say(f"{len(shown):,} of {counted(found.num_rows, 'answer')} of {day}")


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        f"{row['scored_at']:%F %T}",
        row["claim_id"],
        number(row["score"]),
        f"{row['probability']:.1%}",
        "yes" if row["alert"] else "",
        "\n".join(row["reasons"]),
        row["role"],
        row["client"],
        row["model_version"],
    )


def _day(lakehouse: Lakehouse, dataset: str, wanted: str | None) -> str:
    """The day that is asked for, or the newest. LakehouseError says what there is without it."""
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.serving.logged import logged_days
    from fraud_mlops.serving.prediction_log import ZONE

    days, place = logged_days(lakehouse, dataset), lakehouse.uri(ZONE, dataset)
    if not days:
        raise LakehouseError(f"{place}: no answer is logged; the API writes them (docs/api.md)")
    if wanted is not None and wanted not in days:
        raise LakehouseError(f"{place}: has no day {wanted!r}, only {days[0]} to {days[-1]}")
    return wanted or days[-1]

"""`quarantine`: the rows that broke a contract, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from fraud_mlops.cli.options import dataset_option, output_option, same_options
from fraud_mlops.cli.printing import minute, say, show_table

_LAUNCHES = 20
"""As many are opened and listed."""
_SHOWN = ["file", "row", "column", "value", "reason"]


@click.command()
@dataset_option()
@output_option()
@click.option("--launch-id", help="Of one run only; then its rows are shown one by one.")
@click.option("--top", default=20, show_default=True, type=click.IntRange(1))
def quarantine(dataset: str, output_uri: str, launch_id: str | None, top: int) -> None:
    """Rows that were kept out of the raw zone: how many, and for which reasons, the latest launch
    last. Files stay when a later ingest has found the rows in order.
    """
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.stores import join, list_files

    folder = join(output_uri, "quarantine", dataset)
    files = sorted(list_files(folder), key=lambda file: file.changed)
    launches = {
        file.path.removesuffix(".parquet"): datetime.fromtimestamp(file.changed, UTC)
        for file in files
        if file.path.endswith(".parquet")
    }
    if not launches:
        say(f"No row of {dataset} is in quarantine ({folder}).")
        return
    if launch_id is None:
        _show_launches(same_options(dataset, root=output_uri), folder, launches)
        return
    if launch_id not in launches:
        known = ", ".join(list(launches)[-5:])
        raise LakehouseError(f"{folder}: has no launch {launch_id!r}; the last are {known}")
    rows = _read(folder, launch_id)
    show_table(_SHOWN, [[r[c] for c in _SHOWN] for r in rows[:top]], right=["row"])
    say(f"{min(top, len(rows)):,} of {len(rows):,} rows")
    say(f"Whole records are in {join(folder, launch_id)}.parquet")


def _show_launches(told_options: str, folder: str, launches: dict[str, datetime]) -> None:
    from collections import Counter

    lines: list[tuple[object, ...]] = []
    latest = list(launches.items())[-_LAUNCHES:]
    for launch, at in latest:
        rows = _read(folder, launch)
        for reason, count in Counter(row["reason"] for row in rows).most_common():
            first = next(row for row in rows if row["reason"] == reason)
            lines.append((launch, f"{count:,}", reason, minute(at), _where(first)))
    show_table(
        ["launch", "rows", "reason", "written (UTC)", "first of them"], lines, right=["rows"]
    )
    more = (
        f", {len(launches) - len(latest)} earlier ones too" if len(launches) > len(latest) else ""
    )
    say(f"Files are in {folder}{more}.")
    say(f"One by one: fraud-mlops quarantine {told_options} --launch-id {latest[-1][0]}")


def _where(row: dict[str, Any]) -> str:
    place = f"{row['file']}, row {row['row']}"
    if row["column"] is None:
        return place
    return f"{place}, column {row['column']!r}: {row['value']!r}"


def _read(folder: str, launch: str) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.stores import join, open_input

    uri = join(folder, f"{launch}.parquet")
    try:
        with open_input(uri) as stream:
            rows: list[dict[str, Any]] = pq.read_table(stream, columns=_SHOWN).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise LakehouseError(f"{uri}: cannot be read as a quarantine file: {error}") from None
    return rows

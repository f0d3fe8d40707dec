"""`check`: what a contract makes of its source, before anything runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from fraud_mlops.cli.datasets import source_of
from fraud_mlops.cli.options import output_option
from fraud_mlops.cli.printing import minute, say, show_table
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.cli.preview import Preview
    from fraud_mlops.cli.windows import Counted, Windows

_SPAN = "%Y-%m-%d"


@click.command()
@click.argument("dataset")
@output_option()
@click.option(
    "--rows",
    type=click.IntRange(1),
    help="Stop after so many rows, or some more, of a very large source; no windows are told then.",
)
@click.option(
    "--examples",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Rows to show of each reason to refuse them.",
)
def check(dataset: str, output_uri: str, rows: int | None, examples: int) -> None:
    """Read a contract and its source as a run would, and say what comes of it.

    DATASET is a name, or the path of a contract. What is read as what, how many claims, frauds and
    entities there are, in which windows, which rows would go to quarantine and why, and what a run
    would refuse. Files that this lakehouse has set aside (`fraud-mlops aside`) are left out, as a
    run leaves them out, and told. Nothing is written. The exit code is 1 when the contract or the
    source cannot be used, and when a run would refuse them.
    """
    from fraud_mlops import catalog
    from fraud_mlops.cli.preview import preview
    from fraud_mlops.lakehouse.partitions import Lakehouse

    contract = catalog.load(dataset)
    say(f"{contract.name} version {contract.version}: {source_of(contract)}")
    seen = preview(contract, Lakehouse(output_uri), rows, examples, _tell_progress)
    _show_columns(seen)
    _say_rows(seen)
    _show_entities(seen)
    if seen.windows:
        _show_windows(seen.windows)
    _show_problems(seen)
    for note in (*seen.warnings, *(seen.windows.notes if seen.windows else ())):
        say(f"Note: {note}")
    if seen.refusals:
        raise click.ClickException("a run would be refused.\n" + "\n".join(seen.refusals))
    say(f"Run it: python flows/fraud_detection_flow.py run --dataset {dataset}")


def _tell_progress(line: str) -> None:
    """To a person who waits; a log or a script has no use for it."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


def _show_columns(seen: Preview) -> None:
    rows = [
        (c.name, c.source, c.role, c.kind, None if c.missing is None else f"{c.missing:.1%}")
        for c in seen.columns
    ]
    show_table(["column", "in the source", "role", "read as", "missing"], rows, right=["missing"])


def _say_rows(seen: Preview) -> None:
    rows = f"{'All' if seen.whole else 'First'} {counted(seen.rows, 'row')}"
    first, last = seen.summary.first_event, seen.summary.last_event
    if first is None or last is None:
        say(f"{rows}: not one can be used")
        return
    say(
        f"{rows}: {minute(first)} to {minute(last)} UTC, {seen.frauds:,} fraud, "
        f"{seen.genuine:,} genuine, {seen.not_known:,} not known yet"
    )


def _show_entities(seen: Preview) -> None:
    claims = seen.summary.rows
    rows = [
        (e.name, e.source, f"{e.distinct:,}", _each(claims * (1 - e.missing), e.distinct),
         f"{e.missing:.1%}")
        for e in seen.entities
    ]  # fmt: skip
    columns = ["entity", "in the source", "different, about", "claims each", "missing"]
    if rows and claims:
        show_table(columns, rows, right=columns[2:])


def _each(claims: float, distinct: int) -> str:
    return f"{claims / distinct:.1f}" if distinct else ""


def _show_windows(windows: Windows) -> None:
    found = windows.partitions
    say(f"{counted(len(found), 'partition')} with claims, {found[0]} to {found[-1]}")
    columns = ["window", "from", "until", "claims", "labelled", "frauds", "fraud rate"]
    if windows.counted:
        show_table(columns, map(_window, windows.counted), right=columns[3:])


def _window(found: Counted) -> tuple[str, ...]:
    window = found.window
    return (
        {"oot": "out of time"}.get(found.name, found.name),
        f"{window.start:{_SPAN}}" if window else "",
        f"{window.end:{_SPAN}}" if window else "",
        *(f"{n:,}" for n in (found.claims, found.labelled, found.frauds)),
        "" if found.rate is None else f"{found.rate:.2%}",
    )


def _show_problems(seen: Preview) -> None:
    if seen.labels_added:
        say(f"{seen.labels_added:,} of them add the label of an earlier record.")
    if not seen.bad:
        say("No row of them breaks the contract.")
        return
    say(f"{seen.bad:,} of them break the contract, and would go to quarantine:")
    counts = [(reason, f"{n:,}", f"{n / seen.rows:.2%}") for reason, n in seen.reasons.items()]
    show_table(["reason", "rows", "share"], counts, right=["rows", "share"])
    rows = [(p.file, p.row, p.column, p.value, p.reason) for p in seen.problems]
    columns = ["file", "row", "column", "value", "reason"]
    say("The first rows of each reason:")
    show_table(columns, rows, right=["row"])

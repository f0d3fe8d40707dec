"""`datasets` and `check`: what can be run, and what a contract makes of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fraud_mlops.cli.printing import minute, say, show_table

if TYPE_CHECKING:
    from fraud_mlops.cli.preview import Preview
    from fraud_mlops.contract import Contract

_PROBLEMS_SHOWN = 10


@click.command()
def datasets() -> None:
    """The datasets that are known by name."""
    from fraud_mlops import catalog
    from fraud_mlops.errors import ContractError

    rows = []
    for name, path in sorted(catalog.available().items()):
        try:
            contract = catalog.load(path)
        except ContractError as error:
            rows.append((name, f"wrong: {error}", "", path))
        else:
            rows.append((name, contract.description.strip(), _source(contract), path))
    show_table(["dataset", "description", "source", "contract"], rows)
    say("Look into one: fraud-mlops check DATASET")


def _source(contract: Contract) -> str:
    from fraud_mlops.contract import FileSource

    source = contract.source
    return source.uri if isinstance(source, FileSource) else f"generated, {source.claims:,} claims"


@click.command()
@click.argument("dataset")
def check(dataset: str) -> None:
    """Read a contract and its source, and say what is read as what.

    DATASET is a name, or the path of a contract. Nothing is written. The exit code is 1 when the
    contract or the source cannot be used, or when more of the first rows break the contract than
    it allows.
    """
    from fraud_mlops import catalog
    from fraud_mlops.cli.preview import preview

    contract = catalog.load(dataset)
    say(f"{contract.name} version {contract.version}: {_source(contract)}")
    seen = preview(contract)
    show_table(["column", "in the source", "role", "read as"], seen.columns)
    for warning in seen.warnings:
        say(f"Note: {warning}")
    _say_rows(seen)
    _say_problems(seen, dataset)


def _say_rows(seen: Preview) -> None:
    say(
        f"First {seen.rows:,} rows: {minute(seen.first)} to {minute(seen.last)} UTC, "
        f"{seen.frauds:,} fraud, {seen.genuine:,} genuine, "
        f"{seen.rows - seen.frauds - seen.genuine - seen.bad:,} not known yet"
        if seen.first and seen.last
        else f"First {seen.rows:,} rows: not one can be used"
    )


def _say_problems(seen: Preview, dataset: str) -> None:
    if not seen.bad:
        say("No row of them breaks the contract.")
        say(f"Run it: python flows/fraud_detection_flow.py run --dataset {dataset}")
        return
    rows = [(p.file, p.row, p.column, p.value, p.reason) for p in seen.problems[:_PROBLEMS_SHOWN]]
    title = f"{seen.bad:,} of them break the contract" + (
        f"; the first {_PROBLEMS_SHOWN}:" if seen.bad > _PROBLEMS_SHOWN else ":"
    )
    show_table(["file", "row", "column", "value", "reason"], rows, title=title, right=["row"])
    limit = seen.contract.quality.max_bad_share
    if seen.bad > limit * seen.rows:
        raise click.ClickException(
            f"{seen.bad / seen.rows:.1%} of the first rows break the contract, more than "
            f"quality.max_bad_share = {limit:.1%} allows; mend the source or the contract"
        )

"""`datasets`: what can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fraud_mlops.cli.printing import say, show_table
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.contract import Contract


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
            rows.append((name, contract.description.strip(), source_of(contract), path))
    show_table(["dataset", "description", "source", "contract"], rows)
    say("Look into one: fraud-mlops check DATASET")


def source_of(contract: Contract) -> str:
    """Where the claims come from, in a few words."""
    from fraud_mlops.sources import FileSource

    source = contract.source
    if isinstance(source, FileSource):
        return source.uri
    return f"generated, {counted(source.claims, 'claim')}"

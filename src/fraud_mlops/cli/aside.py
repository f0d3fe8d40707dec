"""`aside`: landed files that could not be read, and how they get another chance."""

from __future__ import annotations

import click

from fraud_mlops.cli.options import dataset_option, output_option
from fraud_mlops.cli.printing import say


@click.command()
@dataset_option()
@output_option()
@click.option("--retry", is_flag=True, help="Read them again from now on.")
def aside(dataset: str, output_uri: str, retry: bool) -> None:
    """Landed files that are set aside, and why.

    One that is replaced, or whose contract is mended, is read again by itself. --retry is for what
    else may have changed: a store that did not answer, a file that others were held against.
    """
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.landing.aside import files_aside, take_all_back

    lakehouse = Lakehouse(output_uri)
    found = files_aside(lakehouse, dataset)
    for record in found:
        say(f"{record.uri}\n  since {record.since:%F %T} UTC: {record.reason}")
    if not found:
        say(f"No landed file of {dataset} is set aside.")
    if retry:
        take_all_back(lakehouse, dataset)
        say(f"{len(found)} are read again: by the landing sensor at its next tick, by ingest now.")

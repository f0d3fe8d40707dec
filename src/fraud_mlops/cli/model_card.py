"""`model-card`: what a model is, for whom, and how good, on a page of Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from fraud_mlops.cli.models import version_of
from fraud_mlops.cli.options import dataset_option, model_option, output_option


@click.command("model-card")
@click.argument("version", default="champion")
@dataset_option()
@output_option(expose_value=False)
@model_option()
@click.option("--output", type=click.Path(path_type=Path), help="A file; shown when left out.")
def model_card(version: str, dataset: str, model_uri: str, output: Path | None) -> None:
    """The model card of VERSION, from its manifest. `champion` (if left out) works too."""
    from fraud_mlops.registry.bundle import read_manifest
    from fraud_mlops.registry.pointers import ROLES, read_pointer
    from fraud_mlops.reporting.model_card import model_card as card

    manifest = read_manifest(model_uri, dataset, version_of(version, dataset, model_uri))
    pointers = [read_pointer(model_uri, dataset, role) for role in ROLES]
    pointer = next((p for p in pointers if p and p.version == manifest.version), None)
    text = card(manifest, pointer)
    if output is None:
        click.echo(text, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    click.echo(f"{output}: model card of {dataset} {manifest.version}")

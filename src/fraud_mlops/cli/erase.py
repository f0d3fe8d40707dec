"""`erase`: one person's claims out of everything that a lakehouse keeps of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fraud_mlops.cli.options import dataset_option, model_option, output_option, user
from fraud_mlops.cli.printing import say, show_table

if TYPE_CHECKING:
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.erasure import Erased, Person

_NOT_LOOKED_INTO = (
    "predictions that wait on the API's machines (FRAUD_API_LOG_FOLDER), Metaflow's datastore "
    "(artifacts name partitions, and hold no rows), Dagster's history, copies and backups of the "
    "lakehouse, and logs"
)


@click.command()
@dataset_option()
@click.option("--entity", default="policyholder", show_default=True)
@click.option("--value", prompt="Its value (not shown)", hide_input=True, help="Asked, if left out")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="ID",
    help="A claim of theirs that was never ingested, such as one the API has scored; repeatable.",
)
@click.option("--request", help="Number of the case; names the record. The time, if left out.")
@output_option()
@model_option()
@click.option("--by", default=user, help="Who does it; your user name if left out.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
def erase(
    dataset: str,
    entity: str,
    value: str,
    claims: tuple[str, ...],
    request: str | None,
    output_uri: str,
    model_uri: str,
    by: str,
    yes: bool,
    dry_run: bool,
) -> None:
    """Erase the claims of one policyholder, or another entity, wherever they are kept.

    Raw claims, scores, the API's predictions and entity state, features, quarantine and training
    samples lose the rows; reports and cards have the ids masked. May be killed and begun again; a
    second run finds nothing. A record without the person's data is left under _erasures.
    """
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.erasure import find_person

    lakehouse = Lakehouse(output_uri)
    person = find_person(lakehouse, dataset, entity, value, claims)
    if not dry_run and not yes:
        many = f"{person.claims.num_rows + len(claims):,} claims"
        click.confirm(f"Erase {many} of this {entity}, and all that was made of them?", abort=True)
    began = datetime.now(UTC)
    found: list[Erased] = []
    try:
        found.extend(_everywhere(lakehouse, model_uri, person, by=by, dry=dry_run))
    finally:
        if not dry_run:
            name = request or f"{began:%Y%m%dT%H%M%S}"
            _record(lakehouse, dataset, name, {"entity": entity, "by": by}, began, found)
    _show(found, dry_run)


def _everywhere(
    lakehouse: Lakehouse, model_uri: str, person: Person, *, by: str, dry: bool
) -> Iterator[Erased]:
    """Raw after what is found by its claims; the entity state is found by itself."""
    from fraud_mlops.maintenance import erasure, erasure_files, erasure_models

    yield from erasure_files.find_in_sources(person)
    yield from erasure_files.erase_quarantine(lakehouse, person, dry=dry)
    yield from erasure_files.erase_texts(lakehouse, person, dry=dry)
    yield from erasure.erase_features(lakehouse, person, dry=dry)
    yield from erasure.erase_scores(lakehouse, person, dry=dry)
    yield from erasure_files.erase_predictions(lakehouse, person, dry=dry)
    yield from erasure.erase_slices(lakehouse, person, dry=dry)
    yield from erasure_models.erase_models(model_uri, person, by=by, dry=dry)
    yield from erasure.erase_raw(lakehouse, person, dry=dry)
    yield from erasure.erase_entity_state(lakehouse, person, dry=dry)


def _record(
    lakehouse: Lakehouse,
    dataset: str,
    name: str,
    told: dict[str, str],
    began: datetime,
    found: list[Erased],
) -> None:
    """Of each run of one case, what it found, and nothing of whom it was about."""
    from fraud_mlops.lakehouse.stores import read_bytes, write_bytes

    uri = lakehouse.uri("_erasures", dataset, f"{name}.json")
    try:
        runs = json.loads(read_bytes(uri))["runs"]
    except FileNotFoundError:
        runs = []
    done = {"began": f"{began:%FT%TZ}", "ended": f"{datetime.now(UTC):%FT%TZ}"}
    runs.append({**told, **done, "erased": [e._asdict() for e in found]})
    record = {"dataset": dataset, "not_looked_into": _NOT_LOOKED_INTO, "runs": runs}
    write_bytes(uri, json.dumps(record, indent=1).encode() + b"\n")
    say(f"The record is {uri}")


def _show(found: list[Erased], dry_run: bool) -> None:
    verb = "would be erased" if dry_run else "erased"
    gone = [e for e in found if not e.left]
    if not found:
        say("Nothing of it is here.")
    else:
        rows = [(e.place, e.uri, f"{e.rows:,}", e.left or verb) for e in found]
        show_table(["place", "where", "rows", ""], rows, right=["rows"])
        say(f"{sum(e.rows for e in gone):,} rows in {len(gone)} objects {verb}.")
    if left := [e for e in found if e.left]:
        say(f"{len(left)} places are left to do by hand, as the table says.")
    say(f"Not looked into: {_NOT_LOOKED_INTO}.")

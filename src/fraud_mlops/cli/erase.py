"""`erase`: one person's claims out of everything that a lakehouse keeps of a dataset."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fraud_mlops.cli.options import dataset_option, model_option, output_option, user
from fraud_mlops.cli.printing import say, show_table
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.erased import Erased
    from fraud_mlops.maintenance.erasure import Person

_REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NOT_LOOKED_INTO = (
    "predictions that wait on the API's machines (FRAUD_API_LOG_FOLDER), Metaflow's datastore "
    "(artifacts name partitions, and hold no rows), Dagster's history, a warehouse that the "
    "settings do not name, and what one keeps of deleted rows (Snowflake's Time Travel and "
    "Fail-safe), copies and backups, and logs"
)

_MODELS_KEEP = (
    "Models keep their weights, which have learnt of these claims among others; only rows of the "
    "training sample and figures of slices go. Train again where that is to end. Pointers follow "
    "to the new version, and so does whoever asks for the old one."
)


@click.command()
@dataset_option()
@click.option("--entity", default="policyholder", show_default=True)
@click.option("--value", help="Asked for, or a line of standard input, if left out.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="ID",
    help="A claim of theirs that was never ingested, such as one the API has scored; repeatable.",
)
@click.option(
    "--request",
    callback=lambda _context, _option, value: _request_name(value),
    help="Number of the case; names the record. The time, if left out.",
)
@output_option()
@model_option()
@click.option("--by", default=user, help="Who does it; your user name if left out.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
def erase(
    dataset: str,
    entity: str,
    value: str | None,
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
    Ends with exit code 1 when something is damaged and could not be looked into.
    """
    from fraud_mlops.cli.lake import require_dataset
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.erasure import find_person

    value = value or _asked_for()
    lakehouse, began = Lakehouse(output_uri), datetime.now(UTC)
    require_dataset(lakehouse, dataset)
    record = lakehouse.uri("_erasures", dataset, f"{request or f'{began:%Y%m%dT%H%M%S}'}.json")
    earlier = [] if dry_run else _earlier_runs(record)
    person = find_person(lakehouse, dataset, entity, value, claims)
    if not dry_run and not yes:
        many = counted(person.claims.num_rows + len(claims), "claim")
        click.confirm(f"Erase {many} of this {entity}, and all that was made of them?", abort=True)
    found: list[Erased] = []
    try:
        warehouse = _everywhere(lakehouse, model_uri, person, found, by=by, dry=dry_run)
    finally:
        if not dry_run:
            done = {"began": f"{began:%FT%TZ}", "ended": f"{datetime.now(UTC):%FT%TZ}"}
            run = {"entity": entity, "by": by, **done, "erased": [e._asdict() for e in found]}
            _record(record, dataset, [*earlier, run])
    _show(found, dry_run)
    if warehouse:
        say(warehouse)
    if not any(e.rows for e in found):
        _show_looked(lakehouse, person, model_uri)
    if unread := [e for e in found if e.unread]:
        raise LakehouseError(
            f"{counted(len(unread), 'object')} could not be looked into, as the table says: what "
            "is held there of this person stays, and so does what was made of claims that are only "
            "there. Mend that, write it again or remove it, then erase again"
        )


def _asked_for() -> str:
    """Unseen from a person, and from a pipe or a file its first line."""
    if sys.stdin.isatty():
        return str(click.prompt("Its value (not shown)", hide_input=True))
    if line := sys.stdin.readline().strip():
        return line
    raise click.UsageError("whom? Standard input has no line; give it there, or type it")


def _request_name(text: str | None) -> str | None:
    if text is not None and not _REQUEST.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} cannot name a file: use letters, digits, '.', '_' and '-'"
        )
    return text


def _earlier_runs(record: str) -> list[Any]:
    """Of the same case. Raises LakehouseError for a record that could not be added to."""
    from fraud_mlops.errors import LakehouseError
    from fraud_mlops.lakehouse.stores import read_bytes

    try:
        return list(json.loads(read_bytes(record))["runs"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise LakehouseError(
            f"{record}: is a damaged record; nothing was erased. Give another --request"
        ) from None


def _everywhere(
    lakehouse: Lakehouse, model_uri: str, person: Person, found: list[Erased], *, by: str, dry: bool
) -> str:
    """Raw after what is found by its claims; the entity state is found by itself.

    Returns what there is to tell of the warehouse. found: grows as things are found, so that it is
    known how far an erasure came that failed.
    """
    from fraud_mlops.maintenance import erasure, erasure_files, erasure_models, erasure_texts
    from fraud_mlops.maintenance.erasure_warehouse import find_in_warehouse

    found.extend(erasure_files.find_in_sources(person))
    found.extend(erasure_files.erase_quarantine(lakehouse, person, dry=dry))
    found.extend(erasure_texts.erase_texts(lakehouse, person, dry=dry))
    found.extend(erasure.erase_truth(lakehouse, person, dry=dry))
    found.extend(erasure.erase_features(lakehouse, person, dry=dry))
    found.extend(erasure.erase_scores(lakehouse, person, dry=dry))
    found.extend(erasure_files.erase_predictions(lakehouse, person, dry=dry))
    found.extend(erasure.erase_slices(lakehouse, person, dry=dry))
    found.extend(erasure_models.erase_models(model_uri, person, by=by, dry=dry))
    found.extend(erasure.erase_raw(lakehouse, person, tuple(found), dry=dry))
    found.extend(erasure.erase_entity_state(lakehouse, person, dry=dry))
    warehouse = find_in_warehouse(lakehouse.root, person)
    found.extend(warehouse.found)
    return warehouse.told


def _record(uri: str, dataset: str, runs: Sequence[Any]) -> None:
    """Of each run of one case, what it found, and nothing of whom it was about."""
    from fraud_mlops.lakehouse.stores import write_bytes

    record = {"dataset": dataset, "not_looked_into": _NOT_LOOKED_INTO, "runs": runs}
    write_bytes(uri, json.dumps(record, indent=1).encode() + b"\n")
    say(f"The record is {uri}")


def _show_looked(lakehouse: Lakehouse, person: Person, model_uri: str) -> None:
    """What there was to be found in, without the value: is it not here, or mistyped?"""
    from fraud_mlops.maintenance.looked import looked_through

    looked = list(looked_through(lakehouse, person, model_uri))
    rows = [(n, f"{o:,}", None if r is None else f"{r:,}", by) for n, o, r, by in looked]
    columns = ["looked through", "objects", "rows", "by"]
    show_table(columns, rows, right=["objects", "rows"])
    given = counted(len(person.more), "given claim")
    ids = f", nor was anything found by the {given}" if person.more else ""
    say(
        f"Nothing matched: none of {counted(looked[0].rows or 0, 'claim')} in raw is of this "
        f"{person.entity}"
        f"{ids}. If something should be here, compare the spelling with the source's: case, "
        "spaces and leading zeros count."
    )


def _show(found: list[Erased], dry_run: bool) -> None:
    verb = "would be erased" if dry_run else "erased"
    gone = [e for e in found if not e.left]
    if not found:
        say("Nothing of it is here.")
    else:
        then = f"{verb}; the version is then" if dry_run else f"{verb}; the version is now"
        rows = [
            (e.place, e.uri, f"{e.rows:,}", e.left or (f"{then} {e.now}" if e.now else verb))
            for e in found
        ]
        show_table(["place", "where", "rows", ""], rows, right=["rows"])
        many = counted(sum(e.rows for e in gone), "row")
        say(f"{many} in {counted(len(gone), 'object')} {verb}.")
    if any(e.now for e in gone):
        say(_MODELS_KEEP)
    if left := [e for e in found if e.left and not e.unread]:
        say(f"Left to do by hand, as the table says: {counted(len(left), 'place')}.")
    say(f"Not looked into: {_NOT_LOOKED_INTO}.")

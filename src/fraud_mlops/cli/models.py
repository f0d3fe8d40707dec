"""`models`: versions in the registry, and the pointers to them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import click

from fraud_mlops.cli.lake import Age, dry_run_option
from fraud_mlops.cli.options import dataset_option, model_option, output_option, same_options, user
from fraud_mlops.cli.printing import interval, minute, number, say, show_table
from fraud_mlops.command_options import FIRST_RUN
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.registry.bundle import Manifest

_output_option = output_option(expose_value=False)
_by_option = click.option("--by", default=user, help="Who moves it; your user name if left out.")


@click.group()
def models() -> None:
    """Model versions of a dataset, and which of them leads."""


@models.command("list")
@dataset_option()
@output_option()
@model_option()
def list_models(dataset: str, output_uri: str, model_uri: str) -> None:
    """All versions, oldest first; one whose manifest is wrong says so.

    written: when a training made it, or made it once more.
    """
    from fraud_mlops.errors import BundleError
    from fraud_mlops.registry.bundle import read_manifest, written

    roles = _roles(model_uri, dataset)
    rows: list[tuple[str | None, ...]] = []
    found_versions = written(model_uri, dataset)
    for version, since in found_versions.items():
        try:
            manifest = read_manifest(model_uri, dataset, version)
        except BundleError as error:
            rows.append(
                (version, roles.get(version), f"damaged: {error}", "", minute(since), "", "")
            )
            continue
        found = manifest.metrics.get("average_precision", {})
        rows.append(
            (
                version,
                roles.get(version),
                number(found.get("value")),
                interval(found.get("low"), found.get("high")),
                minute(since),
                minute(manifest.labels_as_of),
                manifest.run,
            )
        )
    for version, role in roles.items():
        if version not in found_versions:
            rows.append((version, role, "gone: nothing of it is here", "", "", "", ""))
    if not rows:
        told = same_options(dataset, root=output_uri, models=model_uri)
        say(f"No model of {dataset} in {model_uri} yet. Train one: {FIRST_RUN} {told}")
        return
    figures = ["OOT average precision", "95 % interval"]
    columns = ["version", "role", *figures, "written", "labels as of", "run"]
    show_table(columns, rows, right=figures[:1])


def _roles(model_uri: str, dataset: str) -> dict[str, str]:
    from fraud_mlops.registry.pointers import ROLES, read_pointer

    pointers = [read_pointer(model_uri, dataset, role) for role in ROLES]
    return {pointer.version: pointer.role for pointer in reversed(pointers) if pointer}


@models.command()
@click.argument("version", default="champion")
@dataset_option()
@_output_option
@model_option()
def show(version: str, dataset: str, model_uri: str) -> None:
    """What VERSION is and how good it was. `champion` (if left out) and `challenger` work too."""
    from fraud_mlops.registry.bundle import read_manifest

    manifest = read_manifest(model_uri, dataset, version_of(version, dataset, model_uri))
    rows = [
        ("version", manifest.version),
        ("role", _roles(model_uri, dataset).get(manifest.version)),
        ("run", manifest.run),
        ("Dagster run", manifest.dagster_run_id),
        ("trained until", minute(manifest.trained_until)),
        ("labels as of", minute(manifest.labels_as_of)),
        ("model", f"{manifest.candidate.get('name')} ({manifest.candidate.get('family')})"),
        ("calibration", manifest.calibration.get("kind")),
        ("gate", manifest.gate.get("reason")),
        ("contract", f"version {manifest.contract.get('version')}"),
        ("data", f"{len(manifest.data_versions)} raw partitions, pinned by content"),
        ("libraries", ", ".join(f"{n} {v}" for n, v in manifest.libraries.items())),
        ("files", ", ".join(f"{n} {e.bytes:,} B" for n, e in manifest.files.items())),
    ]
    show_table(["", ""], rows)
    show_metrics(manifest)


def show_metrics(manifest: Manifest) -> None:
    rows = [
        (name.replace("_", " "), number(found["value"]), interval(found["low"], found["high"]))
        for name, found in manifest.metrics.items()
    ]
    show_table(["out of time", "value", "95 % interval"], rows, right=["value"])


def version_of(text: str, dataset: str, model_uri: str) -> str:
    """Of a role, or of a name, also of one that the version had before an erasure."""
    from fraud_mlops.errors import RegistryError
    from fraud_mlops.registry.lineage import resolved_version
    from fraud_mlops.registry.pointers import ROLES, read_pointer

    for role in ROLES:
        if text == role:
            if pointer := read_pointer(model_uri, dataset, role):
                return pointer.version
            raise RegistryError(f"{dataset} has no {role} in {model_uri}")
    return resolved_version(model_uri, dataset, text)


@models.command()
@click.argument("versions", nargs=-1)
@dataset_option()
@_output_option
@model_option()
def verify(versions: tuple[str, ...], dataset: str, model_uri: str) -> None:
    """Check every file of VERSIONS (all, and those that lead, if left out) against its hash."""
    from fraud_mlops.errors import BundleError
    from fraud_mlops.registry.bundle import list_versions, load_bundle

    named = [version_of(version, dataset, model_uri) for version in versions]
    wanted = named or sorted({*list_versions(model_uri, dataset), *_roles(model_uri, dataset)})
    damaged = 0
    for version in wanted:
        try:
            files = load_bundle(model_uri, dataset, version).files
            size = sum(map(len, files.values()))
            say(f"{version}  whole: {counted(len(files), 'file')}, {size:,} bytes")
        except BundleError as error:
            damaged += 1
            say(f"{version}  DAMAGED: {error}")
    if damaged:
        raise BundleError(f"{damaged} of {len(wanted)} versions of {dataset} cannot be used")
    say(f"{len(wanted)} of {len(wanted)} versions of {dataset} are whole.")


@models.command()
@click.argument("version")
@dataset_option()
@_output_option
@model_option()
@_by_option
@click.option("--reason", default="promoted by hand", show_default=True)
def promote(version: str, dataset: str, model_uri: str, by: str, reason: str) -> None:
    """Make VERSION (or `challenger`) the champion, once it has been found whole."""
    from fraud_mlops.registry.pointers import promote, read_pointer

    current = read_pointer(model_uri, dataset, "champion")
    before = current.version if current else None
    chosen = version_of(version, dataset, model_uri)
    pointer = promote(model_uri, dataset, chosen, expected=before, by=by, reason=reason)
    _say_moved(dataset, model_uri, before, pointer.version)


@models.command()
@click.option("--to", help="Version to go back to; the one the champion replaced if left out.")
@dataset_option()
@_output_option
@model_option()
@_by_option
@click.option("--reason", default="rolled back by hand", show_default=True)
def rollback(to: str | None, dataset: str, model_uri: str, by: str, reason: str) -> None:
    """Go back to the champion before. Again, and it goes further back; --to comes back."""
    from fraud_mlops.registry.going_back import rollback
    from fraud_mlops.registry.pointers import read_pointer

    current = read_pointer(model_uri, dataset, "champion")
    pointer = rollback(model_uri, dataset, to=to, by=by, reason=reason)
    _say_moved(dataset, model_uri, current.version if current else None, pointer.version)


@models.command()
@click.argument("role", default="champion", type=click.Choice(["champion", "challenger"]))
@dataset_option()
@_output_option
@model_option()
@_by_option
@click.option("--reason", default="retired by hand", show_default=True)
def retire(
    role: Literal["champion", "challenger"], dataset: str, model_uri: str, by: str, reason: str
) -> None:
    """Have no champion, as before the first: the next training is held against nobody.

    For a champion that can no longer score the claims. Servers that have it loaded go on with it
    until another leads; scoring runs and restarted servers have no model until the next training.
    `retire challenger` takes that back, and servers score nothing in its shadow any more.
    """
    from fraud_mlops.errors import RegistryError
    from fraud_mlops.registry.pointers import read_pointer, withdraw

    pointer = read_pointer(model_uri, dataset, role)
    if pointer is None:
        raise RegistryError(f"{dataset}: has no {role} to retire")
    withdraw(model_uri, dataset, pointer.version, by=by, reason=reason, role=role)
    say(f"{dataset}: {pointer.version} is retired; there is no {role}.")
    if role == "champion":
        _say_back(dataset, model_uri, pointer.version)


def _say_moved(dataset: str, model_uri: str, before: str | None, now: str) -> None:
    if before == now:
        say(f"{dataset}: {now} is the champion already; nothing was moved.")
        return
    say(f"{dataset}: the champion is {now}, before it was {before or 'none'}.")
    if before:
        _say_back(dataset, model_uri, before)


def _say_back(dataset: str, model_uri: str, version: str) -> None:
    told = same_options(dataset, models=model_uri)
    say(f"Back again: fraud-mlops models promote {version} {told}")


@models.command()
@dataset_option()
@_output_option
@model_option()
def history(dataset: str, model_uri: str) -> None:
    """Every move of champion and challenger, oldest first."""
    from fraud_mlops.registry.pointers import history

    rows = []
    for m in history(model_uri, dataset):
        version = f"{m.version} (withdrawn)" if m.withdrawn else m.version
        since = f"{m.since:%Y-%m-%d %H:%M:%S}"
        rows.append((since, m.role, version, m.previous, m.by, m.reason))
    show_table(["since (UTC)", "role", "version", "before", "by", "reason"], rows)


@models.command()
@dataset_option()
@output_option()
@model_option()
@click.option(
    "--older-than", type=Age(), required=True, help="Versions written that long ago: 365d."
)
@click.option("--keep", default=3, show_default=True, help="That many of the newest stay anyway.")
@dry_run_option
def expire(
    dataset: str, output_uri: str, model_uri: str, older_than: datetime, keep: int, dry_run: bool
) -> None:
    """Remove old versions that nothing refers to.

    The champion, the challenger, the version that a rollback goes to, and those that scores of the
    lakehouse were made with stay, however old they are, and so do those written within a week,
    which a run may be about to name. A version that a training makes once more is written anew.
    """
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.maintenance.expiry import versions
    from fraud_mlops.registry.pointers import remove_version

    found = versions(model_uri, Lakehouse(output_uri), dataset, older_than, keep)
    gone = [version for version in found if version.kept is None]
    if not dry_run:
        for version in gone:
            remove_version(model_uri, dataset, version.version)
    verb = "would be removed" if dry_run else "removed"
    rows = [(v.version, minute(v.written), v.kept or verb) for v in found]
    show_table(["version", "written", ""], rows)
    say(f"{len(gone)} of {len(found)} versions {verb}.")

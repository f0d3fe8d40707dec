"""A model version on a store: files, and a manifest with the hash of each.

`<models>/<dataset>/<version>/`: the files first, `manifest.json` last, so that a bundle without
a manifest is none yet. A version is named for its content and never changes, so that the name
also vouches for the manifest's list of files: changing both is noticed. The manifest ends with a
digest of itself, so that a figure that was changed in it is noticed too.

Digests find damage, and edits by hand. Whoever may write to the store can write a whole bundle:
that is for the store's rights to prevent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fraud_mlops.errors import MEND, BundleError, first_mistake
from fraud_mlops.lakehouse.stores import join, list_files, read_bytes, tag_at, write_bytes

MANIFEST = "manifest.json"
_VERSION = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
_FILE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_YOUNG = timedelta(days=1)
"""A version that was written within it is not written anew: `models expire` keeps a week's."""


class FileEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What a bundle is, where it comes from, and how good it was when it was made.

    schema_version: 1 called `labels_as_of` "created". labels_as_of: labels that became known later
    were unknown to the run; for when a version was made there is `written`. run: Metaflow pathspec.
    derived_from: the version that this one was, before rows had to be erased from its sample.
    data_versions: of the raw partitions, by partition. metrics: out of time, with intervals; oot:
    the whole out-of-time report, and the best that was possible where that is known. sample: of
    which rows the claims were, where they were not all. digest: of all the rest, filled in when it
    is written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1, 2] = 2
    version: str
    dataset: str
    labels_as_of: AwareDatetime = Field(validation_alias=AliasChoices("labels_as_of", "created"))
    trained_until: AwareDatetime
    run: str
    derived_from: str | None = None
    dagster_run_id: str | None = None
    data_versions: dict[str, str]
    sample: str | None = None
    contract: dict[str, Any]
    split: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    oot: dict[str, Any] = {}
    calibration: dict[str, Any]
    threshold: dict[str, Any]
    candidate: dict[str, Any]
    gate: dict[str, Any]
    libraries: dict[str, str]
    python: str = Field(default_factory=platform.python_version)
    files: dict[str, FileEntry] = {}
    digest: str = ""

    def sealed(self) -> Manifest:
        """With the digest of what it says."""
        text = json.dumps(self.told(exclude={"digest"}), sort_keys=True, allow_nan=False)
        return self.model_copy(update={"digest": _sha256(text.encode())})

    def told(self, exclude: set[str] | None = None) -> dict[str, Any]:
        """As JSON has it: by the names of its own schema version, so that its digest holds. Where
        all claims were learnt from, as before there was a `sample`."""
        unsaid = {"sample"} if self.sample is None else set()
        told = self.model_dump(mode="json", exclude=unsaid | (exclude or set()))
        if self.schema_version == 1:
            told["created"] = told.pop("labels_as_of")
        return told


@dataclass(frozen=True)
class Bundle:
    manifest: Manifest
    files: dict[str, bytes]


def bundle_version(files: Mapping[str, bytes], trained_until: datetime) -> str:
    """`<end of training>-<hash of the files>`: equal models have equal versions."""
    return _version_of({name: _sha256(data) for name, data in files.items()}, trained_until)


def _version_of(hashes: Mapping[str, str], trained_until: datetime) -> str:
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return f"{trained_until.astimezone(UTC):%Y%m%d}-{_sha256(lines.encode())[:12]}"


def write_bundle(
    models_uri: str, dataset: str, version: str, files: Mapping[str, bytes], manifest: Manifest
) -> Bundle:
    """Writes a version, finds it there, or makes whole what of it is half-written or damaged.

    version: as `bundle_version` names `files`, so that what is damaged may be written anew. The
    manifest's list of files is filled in here; one that is there already, and sound, stays, with
    the run that was first to make this model, unless its threshold has come out the same from
    other `alerts`: it is of these, then, and only the gate's word stays. When it is older than a
    day it is `written` once more: an old version that is about to be pointed at is young again.
    Raises BundleError for a version of other content.
    """
    entries = {name: _entry(name, data) for name, data in files.items()}
    manifest = manifest.model_copy(update={"files": entries}).sealed()
    folder = _folder(models_uri, dataset, version)
    _check_name(folder, dataset, version, manifest)
    standing = None
    try:
        standing = load_bundle(models_uri, dataset, version).manifest
    except BundleError:
        for name, data in files.items():
            write_bytes(join(folder, name), data)
        with contextlib.suppress(BundleError):
            standing = read_manifest(models_uri, dataset, version)
    if standing is not None and standing.contract.get("alerts") != manifest.contract.get("alerts"):
        manifest = manifest.model_copy(update={"gate": standing.gate}).sealed()
    elif standing is not None:
        manifest = standing
        there = [file.changed for file in list_files(folder) if file.path == MANIFEST]
        if there and there[0] > (datetime.now(UTC) - _YOUNG).timestamp():
            return Bundle(manifest, dict(files))
    write_manifest(models_uri, manifest)
    return Bundle(manifest, dict(files))


def write_manifest(models_uri: str, manifest: Manifest) -> None:
    """Of a version whose files are there: what it says of itself from now on."""
    text = json.dumps(manifest.told(), indent=1, sort_keys=True, allow_nan=False)
    folder = _folder(models_uri, manifest.dataset, manifest.version)
    write_bytes(join(folder, MANIFEST), text.encode() + b"\n")


def load_bundle(models_uri: str, dataset: str, version: str) -> Bundle:
    """Reads a version and checks size and hash of every file; files it does not list are not read.

    Raises BundleError that names the file that is missing, truncated or tampered with.
    """
    manifest = read_manifest(models_uri, dataset, version)
    folder = _folder(models_uri, dataset, version)
    return Bundle(manifest, {n: _checked(folder, n, e) for n, e in manifest.files.items()})


def read_manifest(models_uri: str, dataset: str, version: str) -> Manifest:
    """What a version says of itself; its files are not looked at. BundleError when it is wrong."""
    uri = join(_folder(models_uri, dataset, version), MANIFEST)
    try:
        manifest = Manifest.model_validate_json(read_bytes(uri))
    except FileNotFoundError:
        raise BundleError(
            f"{uri}: there is no such model version; fraud-mlops models list shows what there is"
        ) from None
    except ValidationError as error:
        raise BundleError(f"{uri}: {first_mistake(error)}; {MEND}") from None
    _check_name(uri, dataset, version, manifest)
    if manifest.digest != manifest.sealed().digest:
        raise BundleError(f"{uri}: is not the manifest that was published (digest); {MEND}")
    return manifest


def manifest_tag(models_uri: str, dataset: str, version: str) -> str | None:
    """Another one once a version's manifest is written anew; None without a manifest."""
    return tag_at(join(models_uri, dataset, version, MANIFEST))


def written(models_uri: str, dataset: str) -> dict[str, datetime]:
    """When each whole version was made, or made once more, by the store's clock; oldest first.

    Neither its name nor `labels_as_of` says so: both are moments of the claims.
    """
    found = []
    for file in list_files(join(models_uri, dataset)):
        version, _, name = file.path.partition("/")
        if name == MANIFEST and _VERSION.fullmatch(version):
            found.append((file.changed, version))
    return {version: datetime.fromtimestamp(changed, UTC) for changed, version in sorted(found)}


def list_versions(models_uri: str, dataset: str) -> list[str]:
    """Whole versions, in the order that they were `written`."""
    return list(written(models_uri, dataset))


def _folder(models_uri: str, dataset: str, version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise BundleError(f"{version!r} is no model version; they look like 20240301-0123456789ab")
    return join(models_uri, dataset, version)


def _check_name(where: str, dataset: str, version: str, manifest: Manifest) -> None:
    """A version is what its name says: this dataset's, and of these very files."""
    if (manifest.dataset, manifest.version) != (dataset, version):
        raise BundleError(f"{where}: belongs to {manifest.dataset} {manifest.version}; {MEND}")
    hashes = {name: entry.sha256 for name, entry in manifest.files.items()}
    if (named := _version_of(hashes, manifest.trained_until)) != version:
        raise BundleError(f"{where}: its files are those of {named}, not of {version}; {MEND}")


def _checked(folder: str, name: str, entry: FileEntry) -> bytes:
    uri = join(folder, _safe(name))
    try:
        data = read_bytes(uri)
    except FileNotFoundError:
        raise BundleError(f"{uri}: is missing; {MEND}") from None
    if len(data) != entry.bytes:
        raise BundleError(f"{uri}: has {len(data):,} bytes instead of {entry.bytes:,}; {MEND}")
    if _sha256(data) != entry.sha256:
        raise BundleError(f"{uri}: is not the file that was published (sha256 differs); {MEND}")
    return data


def _entry(name: str, data: bytes) -> FileEntry:
    _safe(name)
    return FileEntry(sha256=_sha256(data), bytes=len(data))


def _safe(name: str) -> str:
    if not _FILE.fullmatch(name) or name == MANIFEST:
        raise BundleError(f"{name!r} is no name for a file of a bundle")
    return name


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

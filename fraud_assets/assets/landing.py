"""What claims are read from: files that land, or the generator. Observed, never made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dagster_metaflow.data_versions import DATA_VERSION_TAG
from fraud_assets.assets.specs import CLAIMS, asset_spec, observable
from fraud_assets.dataset import LANDING, Dataset
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.local_files import printable
from fraud_mlops.landing.listing import Landed, landed_files, listing_version
from fraud_mlops.sources import FileSource, SyntheticSource

_SHOWN = 10

_FILES = """Files that claims are read from: `{uri}`.

An observation lists them once. The data version says names, sizes and times, so that `raw_zone`
is out of date as soon as one is new, gone or another. Which partitions a new file touches the
landing sensor finds out, by reading it."""

_GENERATED = """Claims that are generated, not read. The data version says with which settings."""


def landing(dataset: Dataset) -> dg.AssetsDefinition:
    """An asset whose observation says what there is to be ingested."""
    source = dataset.contract.source
    spec = asset_spec(
        dataset,
        LANDING,
        group=CLAIMS,
        kinds={(source.format or "file") if isinstance(source, FileSource) else "synthetic"},
        description=_FILES.format(uri=source.uri) if isinstance(source, FileSource) else _GENERATED,
    )

    def observe() -> Iterator[dg.ObserveResult]:
        yield observed(dataset)

    return observable(f"{dataset.name}__observe", spec, observe)


def observed(dataset: Dataset) -> dg.ObserveResult:
    """Raises Failure for a landing zone that cannot be listed."""
    source = dataset.contract.source
    if isinstance(source, SyntheticSource):
        settings = source.model_dump_json()
        version = hashlib.sha256(settings.encode()).hexdigest()[:32]
        metadata: dict[str, Any] = {
            "settings": dg.MetadataValue.json(source.model_dump(mode="json"))
        }
    else:
        try:
            files = landed_files(source)
        except FraudMlopsError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        version, metadata = listing_version(files), _told(source, files)
    return dg.ObserveResult(
        asset_key=dataset.key(LANDING), data_version=dg.DataVersion(version), metadata=metadata
    )


def seen_in_passing(dataset: Dataset, files: Sequence[Landed]) -> dg.AssetObservation:
    """An observation by whoever has listed the files already."""
    return dg.AssetObservation(
        dataset.key(LANDING),
        metadata=_told(dataset.contract.source, files),
        tags={DATA_VERSION_TAG: listing_version(files)},
    )


def _told(source: FileSource | SyntheticSource, files: Sequence[Landed]) -> dict[str, Any]:
    newest = sorted(files, key=lambda file: file.changed, reverse=True)[:_SHOWN]
    rows = [
        dg.TableRecord({"file": printable(f.path), "bytes": f.size, "changed": _moment(f.changed)})
        for f in newest
    ]
    told: dict[str, Any] = {
        "dagster/uri": getattr(source, "uri", ""),
        "files": len(files),
        "bytes": sum(file.size for file in files),
    }
    if rows:
        told["newest"] = dg.MetadataValue.table(rows)
    return told


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%F %T}"

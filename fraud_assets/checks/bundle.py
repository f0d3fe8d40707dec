"""Whether the champion can be served: each file as it was published, a model in them, not old."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from datetime import UTC, datetime

import dagster as dg

from fraud_assets.assets.specs import model_age_limit
from fraud_assets.checks.verdicts import warned
from fraud_assets.dataset import MODEL_ARTIFACT, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.registry.bundle import Bundle, load_bundle, read_manifest
from fraud_mlops.registry.pointers import read_pointer


def bundle_is_whole(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking: nothing is scored with a model that is not the one that was published."""

    @dg.asset_check(
        asset=dataset.key(MODEL_ARTIFACT),
        name="bundle_is_whole",
        blocking=True,
        description="The champion's files are those that were published, and it can be loaded.",
    )
    def check(stores: Stores) -> dg.AssetCheckResult:
        try:
            return _champion(stores.models, dataset.name)
        except FraudMlopsError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))

    return check


def champion_is_recent(dataset: Dataset) -> list[dg.AssetChecksDefinition]:
    """Freshness by the model itself, where claims keep coming."""
    return [_recent(dataset)] if dataset.is_live else []


def _recent(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dataset.key(MODEL_ARTIFACT),
        name="champion_is_recent",
        description="The champion has learnt from recent labels. A freshness policy is content "
        "with a rollback to an old one.",
    )
    def check(stores: Stores) -> dg.AssetCheckResult:
        try:
            pointer = read_pointer(stores.models, dataset.name, "champion")
            if pointer is None:
                return warned("There is no champion.")
            manifest = read_manifest(stores.models, dataset.name, pointer.version)
        except FraudMlopsError as error:
            return warned(str(error))
        limit, age = model_age_limit(dataset), datetime.now(UTC) - manifest.labels_as_of
        return dg.AssetCheckResult(
            passed=age <= limit,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{pointer.version} knows labels as of {manifest.labels_as_of:%F}, more "
            f"than {limit.days} days ago. Train again: {dataset.titled('training_job')}."
            if age > limit
            else None,
            metadata={
                "model_version": pointer.version,
                "labels_as_of": manifest.labels_as_of.isoformat(),
                "age_days": round(age.total_seconds() / 86_400, 1),
            },
        )

    return check


def _champion(models: str, dataset: str) -> dg.AssetCheckResult:
    pointer = read_pointer(models, dataset, "champion")
    if pointer is None:
        return dg.AssetCheckResult(
            passed=False,
            description="There is no champion: train one, or name one by fraud-mlops models "
            "promote.",
        )
    bundle = load_bundle(models, dataset, pointer.version)
    return dg.AssetCheckResult(
        passed=True,
        metadata={
            "model_version": pointer.version,
            "since": pointer.since.isoformat(),
            "files": len(bundle.files),
            "bytes": sum(len(data) for data in bundle.files.values()),
            "features": _loaded_features(bundle),
        },
    )


def _loaded_features(bundle: Bundle) -> int:
    """Loads the model, which checks its weights against its network."""
    from fraud_mlops.models.fraud_model import FraudModel

    return len(FraudModel.from_files(bundle.files).features)

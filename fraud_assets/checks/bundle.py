"""Whether the champion can be served: every file as it was published, and a model in them."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import dagster as dg

from fraud_assets.dataset import MODEL_ARTIFACT, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.registry.bundle import Bundle, load_bundle
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

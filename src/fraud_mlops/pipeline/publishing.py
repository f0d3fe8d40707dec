"""Put the validated model into the registry and, if it won, at the head of it.

Where a run also scores, the bundle is there before its first score, so that none names a version
that cannot be looked up; the pointer moves when all else is done.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fraud_mlops.claims.raw_zone import RawClaims
from fraud_mlops.errors import RegistryError
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.models.training_log import TrainingLog
from fraud_mlops.pipeline.choosing import Choice
from fraud_mlops.pipeline.leading import lost
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.registry.bundle import Manifest, write_bundle
from fraud_mlops.registry.pointers import promote, read_pointer, set_challenger

_LIBRARIES = (
    "fraud-mlops",
    "torch",
    "tabm",
    "scikit-learn",
    "numpy",
    "pandas",
    "pyarrow",
    "duckdb",
    "metaflow",
)


def keep_bundle(
    plan: RunPlan,
    raw: RawClaims,
    features: FeatureSet,
    choice: Choice,
    refitted: TrainingLog,
    validated: Validated,
    *,
    dagster_run_id: str | None = None,
) -> Manifest:
    """Writes the bundle, which nothing points at yet. A retry finds it where it would put it."""
    manifest = _manifest(plan, raw, features, choice, refitted, validated).model_copy(
        update={"dagster_run_id": dagster_run_id}
    )
    dataset = features.contract.name
    found = write_bundle(plan.model_uri, dataset, validated.version, validated.files, manifest)
    return found.manifest


def publish(plan: RunPlan, validated: Validated) -> str | None:
    """Moves one pointer to the bundle that is kept: champion after a win, else challenger.

    Returns the version that leads then; None where the champion has been withdrawn meanwhile.

    A retry finds the pointer where it would put it. Raises RegistryError when somebody else has
    moved the champion since the run began.
    """
    place = plan.model_uri, plan.contract.name, validated.version
    move = {"by": plan.run, "reason": validated.gate.reason}
    if not validated.promoted:
        set_challenger(*place, **move)
        champion = read_pointer(plan.model_uri, plan.contract.name, "champion")
        return champion.version if champion else None
    try:
        return promote(*place, expected=plan.champion, **move).version
    except RegistryError as error:
        raise lost(plan, error) from None


def _manifest(
    plan: RunPlan,
    raw: RawClaims,
    features: FeatureSet,
    choice: Choice,
    refitted: TrainingLog,
    validated: Validated,
) -> Manifest:
    return Manifest(
        version=validated.version,
        dataset=features.contract.name,
        labels_as_of=plan.as_of,
        trained_until=features.split.validation.end,
        run=plan.run,
        data_versions={p.value: p.data_version for p in raw.partitions},
        sample=raw.sample,
        contract=_plain(features.contract),
        split=_plain(features.split),
        metrics={k: _plain(v) for k, v in validated.report.metrics.items()},
        oot={
            "report": _plain(validated.report),
            "oracle_average_precision": validated.oracle_average_precision,
        },
        calibration=_plain(choice.decision.calibration),
        threshold=_plain(choice.decision.threshold),
        candidate=_plain(choice.winner) | {"threads": refitted.threads, "device": refitted.device},
        gate=_plain(validated.gate),
        libraries=libraries(),
    )


def libraries() -> dict[str, str]:
    """Versions of what a score depends on."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a remote task may run from source
            continue
    return found


def _plain(model: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(model.model_dump_json())
    return data

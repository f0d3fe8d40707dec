"""Whether the champion can score these claims at all, asked before anything is trained."""

from __future__ import annotations

from pydantic import ValidationError

from fraud_mlops.contract import Contract
from fraud_mlops.errors import BundleError, FraudMlopsError
from fraud_mlops.features.build import feature_names
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.registry.bundle import load_bundle


def require_comparable(plan: RunPlan, contract: Contract) -> None:
    """Raises FraudMlopsError for a contract without a feature that the champion needs, and
    BundleError for a champion whose files are damaged.

    contract: as the claims came out. One of the champion's that this version cannot read is left
    to the comparison itself.
    """
    if plan.champion is None:
        return
    try:
        manifest = load_bundle(plan.model_uri, contract.name, plan.champion).manifest
    except BundleError as error:
        raise BundleError(
            f"champion {plan.champion}: {error}; or promote another version, or retire it, so that "
            f"the next model is the first: fraud-mlops models retire {plan.options}"
        ) from None
    try:
        learnt = Contract.model_validate(manifest.contract)
    except ValidationError:
        return
    there = set(feature_names(contract))
    if missing := [name for name in feature_names(learnt) if name not in there]:
        raise cannot_score(plan, missing)


def cannot_score(plan: RunPlan, missing: list[str]) -> FraudMlopsError:
    return FraudMlopsError(
        f"champion {plan.champion} needs features that the contract no longer has: {missing}. "
        "Restore them (one that an ingest has left out of its own is kept where the contract lists "
        "it under `numeric` or `categorical`), or give the changed contract another name. Or "
        "retire the champion, so that the next model is the first, held against nobody: "
        f"fraud-mlops models retire {plan.options}"
    )

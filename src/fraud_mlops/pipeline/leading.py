"""The model that scores: the champion as it was pinned, or the one that this run will make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from fraud_mlops.errors import RegistryError
from fraud_mlops.evaluation.oot import OotReport
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.split import Split
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.reference import read_reference, yardstick
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.registry.bundle import Manifest, load_bundle, read_manifest
from fraud_mlops.registry.lineage import former_names, resolved_version
from fraud_mlops.registry.pointers import read_pointer, require_expected

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel


@dataclass(frozen=True)
class Leader:
    """split: that it was trained and judged on. reference: claims of its training, with scores.
    former: names of the version before rows were erased from its sample; it scores as they did.

    reference, oot and oracle_average_precision are None for a bundle that does not hold them.
    """

    model: FraudModel
    version: str
    trained_until: datetime
    split: Split
    reference: pa.Table | None
    oot: OotReport | None
    oracle_average_precision: float | None
    former: tuple[str, ...] = ()

    @cached_property
    def yardstick(self) -> pa.Table | None:
        """The reference as drift is measured from it."""
        return None if self.reference is None else yardstick(self.reference, self.model)


def leader_to_be(plan: RunPlan, features: FeatureSet, validated: Validated) -> Leader:
    """The model that leads once the run is published: the winner, or the champion that held.

    Raises RegistryError when somebody else has moved the champion since the run began: what the
    run would score with will not lead then.
    """
    from fraud_mlops.models.fraud_model import FraudModel

    if not validated.promoted and plan.champion is not None:
        leader = pinned_champion(plan)
        _require_unmoved(plan, leader.version)
        return leader
    _require_unmoved(plan, validated.version)
    return Leader(
        model=FraudModel.from_files(validated.files),
        version=validated.version,
        trained_until=features.split.validation.end,
        split=features.split,
        reference=read_reference(validated.files),
        oot=validated.report,
        oracle_average_precision=validated.oracle_average_precision,
    )


def _require_unmoved(plan: RunPlan, own: str) -> None:
    """own: what the run scores with, which leads already where its end is looked at again."""
    dataset = plan.contract.name
    current = read_pointer(plan.model_uri, dataset, "champion")
    if current is not None and current.version == own:
        return
    try:
        require_expected(dataset, current, plan.champion)
    except RegistryError as error:
        raise lost(plan, error) from None


def lost(plan: RunPlan, refusal: RegistryError) -> RegistryError:
    """The refusal, with how the champion's scores come back where the run has its own written."""
    if not plan.publishes("ml_outputs"):
        return refusal
    return RegistryError(
        f"{refusal}. Scores and metrics of this run may stand already; the champion's come back "
        f"with: python flows/scoring_flow.py run {plan.options}, with --partition-start and "
        "--partition-end for partitions before its own out-of-time window"
    )


def pinned_champion(plan: RunPlan) -> Leader:
    """The champion that the run pinned. Raises RegistryError when there was none."""
    from fraud_mlops.models.fraud_model import FraudModel

    bundle = load_bundle(plan.model_uri, plan.contract.name, _version(plan))
    manifest = bundle.manifest
    report = manifest.oot.get("report")
    return Leader(
        model=FraudModel.from_files(bundle.files),
        version=manifest.version,
        trained_until=manifest.trained_until,
        split=Split.model_validate(manifest.split),
        reference=read_reference(bundle.files),
        oot=OotReport.model_validate(report) if report else None,
        oracle_average_precision=manifest.oot.get("oracle_average_precision"),
        former=former_names(plan.model_uri, manifest),
    )


def champion_manifest(plan: RunPlan) -> Manifest:
    """What the pinned champion says of itself. Raises RegistryError when there was none."""
    return read_manifest(plan.model_uri, plan.contract.name, _version(plan))


def _version(plan: RunPlan) -> str:
    if plan.champion is None:
        dataset = plan.contract.name
        raise RegistryError(
            f"{dataset} has no champion in {plan.model_uri} to score with. Train one: "
            f"python flows/training_flow.py run {plan.options}; or, to promote a version that is "
            f"there: fraud-mlops models promote VERSION {plan.options}"
        )
    return resolved_version(plan.model_uri, plan.contract.name, plan.champion)

"""From a version's name to a scorer that has proved itself, or to the reason why not."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from fraud_mlops.contract import MODEL_SCORE, Contract
from fraud_mlops.errors import BundleError, first_mistake
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline.reference import read_reference
from fraud_mlops.registry.bundle import Bundle, Manifest, load_bundle
from fraud_mlops.serving.examples import Example, Tried, common_values, examples_of
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.scorer import FEW_ROWS, Inputs, Scorer

CANARIES = 64
TOLERANCE = 1e-3
"""Greatest distance in logits of a canary from its score at training: another machine's float32
sums differ by some millionths, another model's or library's by far more."""

log = logging.getLogger("fraud.serving")


class Loaded(NamedTuple):
    """A version that has proved itself. canaries: by how many claims."""

    manifest: Manifest
    contract: Contract
    model: FraudModel
    examples: tuple[Example, ...]
    common: Tried
    canaries: int


def load_contract(manifest: Manifest) -> Contract:
    """The contract that a version was trained under. BundleError when it is none."""
    try:
        return Contract.model_validate(manifest.contract)
    except ValidationError as error:
        told = first_mistake(error, "contract")
        raise BundleError(f"{manifest.version}: contract: {told}") from None


def load_model(models_uri: str, dataset: str, version: str) -> Loaded:
    """A version whose files have the hashes of its manifest, and that is proved. Raises BundleError
    with what is wrong."""
    return proved(load_bundle(models_uri, dataset, version))


def proved(bundle: Bundle) -> Loaded:
    """One whose features are those of its contract, and that scores the claims it carries as it did
    when it was made. Raises BundleError with what is wrong."""
    contract = load_contract(bundle.manifest)
    model = FraudModel.from_files(bundle.files)
    _check_features(bundle.manifest.version, contract, model)
    reference = read_reference(bundle.files)
    scorer = Scorer(bundle.manifest, contract, model, EntityHistories(contract, None))
    canaries = _check_canaries(scorer, reference)
    common = common_values(contract, model, reference)
    examples = examples_of(contract, model, common)
    return Loaded(bundle.manifest, contract, model, examples, common, canaries)


def scorer_of(loaded: Loaded, histories: EntityHistories) -> Scorer:
    """The loaded version, with its histories. Scores one claim, so that the first that comes does
    not wait for what is made on first use; its moment takes pandas to be read, and any contract's
    reader takes it."""
    told = loaded.manifest, loaded.contract, loaded.model
    scorer = Scorer(*told, histories, loaded.examples, loaded.common)
    claims = [scorer.reader.read(b'{"event_time": "2024-01-01T00:00:00 UTC"}')]
    inputs = scorer.prepare(claims)
    scorer.reasons(inputs, scorer.score(inputs), [0])
    return scorer


def _check_features(version: str, contract: Contract, model: FraudModel) -> None:
    amount = {"amount"} if contract.amount else set()
    numeric = {*amount, *(contract.numeric or ()), *entity_feature_names(contract)}
    there = numeric | set(contract.categorical or ())
    if lacking := [name for name in model.features if name not in there]:
        raise BundleError(
            f"{version}: needs features that its contract does not give: "
            f"{', '.join(lacking[:10])}; train again, or roll back to another version"
        )


def _check_canaries(scorer: Scorer, reference: pa.Table | None) -> int:
    """reference: claims of the training that the bundle carries, with their scores. They are scored
    as claims are: a few at a time, and as in a batch. How many there are."""
    version = scorer.version
    if reference is None or not reference.num_rows:
        log.warning("%s brings no claims of its training: how it scores is not tried", version)
        return 0
    step = max(1, reference.num_rows // CANARIES)
    some = reference.take(list(range(0, reference.num_rows, step))[:CANARIES])
    few = [some.slice(start, FEW_ROWS) for start in range(0, some.num_rows, FEW_ROWS)]
    by_few = np.concatenate([scorer.score(_inputs(scorer, part)).logits for part in few])
    in_batch = scorer.model.matrix_logits(_inputs(scorer, some).matrix)
    expected = some.column(MODEL_SCORE).to_numpy()
    for found in (by_few.astype(np.float64), in_batch.astype(np.float64)):
        if not np.isfinite(found).all():
            raise BundleError(f"{version}: scores canary claims with what is no number")
        if (worst := float(np.abs(found - expected).max())) > TOLERANCE:
            raise BundleError(
                f"{version}: scores canary claims up to {worst:.3g} away from their scores at "
                "training; another library version, or damage; roll back to another version"
            )
    return len(expected)


def _inputs(scorer: Scorer, claims: pa.Table) -> Inputs:
    """Of claims whose features are known, entity features too."""
    values = np.full((claims.num_rows, len(scorer.numeric)), np.nan)
    for place, name in enumerate(scorer.numeric):
        values[:, place] = claims.column(name).cast(pa.float64()).to_numpy()
    words = [claims.column(name).to_pylist() for name in scorer.categorical]
    moments = np.zeros(claims.num_rows, dtype=np.int64)
    return Inputs(moments, values, words, {}, scorer.inputs.matrix(values, words))

"""A fraud model, whole: from raw features of a claim to a calibrated probability."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from pydantic import BaseModel, ConfigDict, ValidationError

from fraud_mlops.errors import MEND, BundleError, first_mistake
from fraud_mlops.evaluation.calibration import Calibration
from fraud_mlops.features.preprocessing import Matrix, Preprocessor
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.networks import FraudNetwork, NetworkSpec, network_bytes, network_from

WEIGHTS, NETWORK, PREPROCESSING, CALIBRATION = (
    "weights.safetensors",
    "network.json",
    "preprocessing.json",
    "calibration.json",
)
BATCH_ROWS = 65_536
"""Claims taken through preprocessing at a time: tens of megabytes."""
FORWARD_ROWS = 512
"""Claims in one forward pass: hidden layers stay in a core's cache (16,384 at once take twice as
long)."""

_Model = TypeVar("_Model", bound=BaseModel)


class TypicalClaim(BaseModel):
    """The middle of the training claims, to set a claim's values against in words.

    Median of each numeric feature and commonest value of each categorical one, None where all
    are missing; in the order of the model's features.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    numeric: dict[str, float | None]
    categorical: dict[str, str | None]

    @classmethod
    def of(cls, claims: pa.Table, numeric: Sequence[str], categorical: Sequence[str]) -> Self:
        return cls(
            numeric={name: _median(claims.column(name)) for name in numeric},
            categorical={name: _commonest(claims.column(name)) for name in categorical},
        )


class _NetworkFile(BaseModel):
    """network.json. The digest ties the weights to it: a flipped bit is found at loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate: Candidate
    network: NetworkSpec
    typical: TypicalClaim
    threshold: float | None
    weights_sha256: str


@dataclass(frozen=True)
class FraudModel:
    """A trained network with all that turns raw features into a decision.

    threshold: claims whose logit is at or above it are alerted. On the logit, since isotonic
    calibration gives many claims the same probability; None until one is chosen.
    """

    candidate: Candidate
    preprocessor: Preprocessor
    network: FraudNetwork
    typical: TypicalClaim
    calibration: Calibration | None = None
    threshold: float | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Raw features, numeric ones first: the columns that claims must have."""
        return (*self.typical.numeric, *self.typical.categorical)

    def decided(self, calibration: Calibration | None, threshold: float | None) -> FraudModel:
        """The same model with this calibration and threshold."""
        return replace(self, calibration=calibration, threshold=threshold)

    def logits(self, claims: pa.Table | pa.RecordBatch, batch_rows: int = BATCH_ROWS) -> np.ndarray:
        """One logit a claim, float32 [n]; memory beyond the result is that of batch_rows claims.

        A claim's logit does not depend on the claims beside it, but for float32 rounding (one
        part in a million).
        """
        out = np.empty(claims.num_rows, dtype=np.float32)
        for start in range(0, claims.num_rows, batch_rows):
            batch = claims.slice(start, batch_rows)
            self.matrix_logits(
                self.preprocessor.transform(batch), out[start : start + batch.num_rows]
            )
        return out

    def matrix_logits(self, matrix: Matrix, out: np.ndarray | None = None) -> np.ndarray:
        """One logit a row of already preprocessed inputs, float32 [n], into `out` if given."""
        numeric, categories = torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
        out = np.empty(len(numeric), dtype=np.float32) if out is None else out
        result = torch.from_numpy(out)
        with torch.inference_mode():
            for i in range(0, len(out), FORWARD_ROWS):
                rows = slice(i, i + FORWARD_ROWS)
                result[rows] = self.network.score(numeric[rows], categories[rows])
        return out

    def probability(
        self, claims: pa.Table | pa.RecordBatch, batch_rows: int = BATCH_ROWS
    ) -> np.ndarray:
        """Probability of fraud, float64 [n]; not calibrated while there is no calibration."""
        return self.calibrated(self.logits(claims, batch_rows))

    def calibrated(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of logits [n], float64 [n]."""
        if self.calibration is None:
            wide = logits.astype(np.float64)
            return np.asarray(0.5 * (1 + np.tanh(wide / 2)))  # the sigmoid, without overflow
        return np.asarray(self.calibration.apply(logits), dtype=np.float64)

    def to_files(self) -> dict[str, bytes]:
        """The model as files of a bundle, the same bytes for the same model."""
        weights = network_bytes(self.network)
        network = _NetworkFile(
            candidate=self.candidate,
            network=self.network.spec,
            typical=self.typical,
            threshold=self.threshold,
            weights_sha256=hashlib.sha256(weights).hexdigest(),
        )
        files = {
            WEIGHTS: weights,
            NETWORK: _json(network),
            PREPROCESSING: _json(self.preprocessor),
        }
        return files if self.calibration is None else files | {CALIBRATION: _json(self.calibration)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FraudModel:
        """The model that `to_files` wrote, on the CPU. Other files are passed over.

        Raises BundleError when a file is missing, damaged, or belongs to another model.
        """
        if missing := [f for f in (WEIGHTS, NETWORK, PREPROCESSING) if f not in files]:
            raise BundleError(f"the model bundle lacks {', '.join(missing)}; {MEND}")
        parts = _parsed(files, NETWORK, _NetworkFile)
        if hashlib.sha256(files[WEIGHTS]).hexdigest() != parts.weights_sha256:
            raise BundleError(f"{WEIGHTS} is not the file {NETWORK} was written with; {MEND}")
        try:
            network = network_from(parts.network, files[WEIGHTS])
        except ValueError as error:
            raise BundleError(f"{WEIGHTS}: {error}; {MEND}") from None
        preprocessor = _parsed(files, PREPROCESSING, Preprocessor)
        _check_fit(preprocessor, parts)
        calibration = _parsed(files, CALIBRATION, Calibration) if CALIBRATION in files else None
        return cls(
            candidate=parts.candidate,
            preprocessor=preprocessor,
            network=network,
            typical=parts.typical,
            calibration=calibration,
            threshold=parts.threshold,
        )


def _parsed(files: Mapping[str, bytes], name: str, kind: type[_Model]) -> _Model:
    try:
        return kind.model_validate_json(files[name])
    except ValidationError as error:
        raise BundleError(f"{name}: {first_mistake(error)}; {MEND}") from None


def _check_fit(preprocessor: Preprocessor, parts: _NetworkFile) -> None:
    """Files of two models, each in order, must not pass for one."""
    network = parts.network
    inputs = len(preprocessor.input_names), tuple(preprocessor.cardinalities)
    if inputs != (network.n_numeric, network.cardinalities):
        raise BundleError(
            f"{PREPROCESSING} yields {inputs[0]} numeric inputs and categories of {inputs[1]}, "
            f"{NETWORK} takes {network.n_numeric} and {network.cardinalities}; {MEND}"
        )
    if not set(preprocessor.input_features) <= set(parts.typical.numeric):
        raise BundleError(f"{PREPROCESSING} and {NETWORK} name different features; {MEND}")


def _json(model: BaseModel) -> bytes:
    data: Any = model.model_dump(mode="json")
    return json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _median(column: pa.ChunkedArray) -> float | None:
    values = column.cast(pa.float64()).drop_null().to_numpy()
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def _commonest(column: pa.ChunkedArray) -> str | None:
    """The first to appear, where several are."""
    counts = column.drop_null().value_counts()
    if len(counts) == 0:
        return None
    most = int(np.argmax(counts.field("counts").to_numpy()))
    return str(counts.field("values")[most].as_py())

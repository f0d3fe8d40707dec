"""Small made-up claims and small networks, for the tests of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fraud_mlops.features.preprocessing import Matrix, Preprocessor
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.fraud_model import FraudModel, TypicalClaim
from fraud_mlops.models.training import train

NUMERIC, CATEGORICAL = ("amount", "claims_30d", "odd"), ("peril", "region")
SMALL: dict[str, dict[str, Any]] = {
    "logistic": {"epochs": 15},
    "mlp": {"width": 32, "blocks": 2, "epochs": 15, "bins": 8, "learning_rate": 5e-3},
    "tabm": {"width": 32, "blocks": 2, "epochs": 15, "bins": 8, "learning_rate": 5e-3, "k": 4},
}


def candidate(family: str, seed: int = 1, **params: Any) -> Candidate:
    chosen = SMALL[family] | {"batch_size": 64} | params
    return Candidate.model_validate(
        {"name": f"{family}-1", "family": family, "params": chosen, "seed": seed}
    )


def claims(n: int, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Fraud is a large amount in a theft; `odd` is 1 or 0, `claims_30d` and `region` are noise."""
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(8, 1, n)
    peril = rng.choice(["theft", "storm", "crash"], n, p=[0.5, 0.25, 0.25])
    fraud = (np.log(amount) + 1.5 * (peril == "theft") + rng.normal(0, 0.3, n)) > 9.2
    table = pa.table(
        {
            "amount": amount,
            "claims_30d": rng.poisson(2, n).astype(float),
            "odd": rng.integers(0, 2, n).astype(float),
            "peril": peril.tolist(),
            "region": rng.choice(["north", "south"], n).tolist(),
        }
    )
    return table, fraud.astype(np.int8)


def matrix_of(n: int, seed: int = 0) -> tuple[Matrix, np.ndarray]:
    """Inputs as a network takes them, and labels that only an interaction explains."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(n, 4)).astype(np.float32)
    categories = np.stack([rng.integers(0, 4, n), rng.integers(0, 90, n)], axis=1)
    labels = ((numeric[:, 0] > 0) ^ (categories[:, 0] > 1)).astype(np.int8)
    return Matrix(numeric, categories), labels


CARDINALITIES = (4, 90)


def model(family: str, table: pa.Table, labels: np.ndarray, **params: Any) -> FraudModel:
    chosen = candidate(family, **params)
    preprocessor = Preprocessor.fit(table, NUMERIC, CATEGORICAL)
    matrix = preprocessor.transform(table)
    network, _ = train(chosen, matrix, labels, preprocessor.cardinalities, threads=1)
    typical = TypicalClaim.of(table, NUMERIC, CATEGORICAL)
    return FraudModel(chosen, preprocessor, network, typical)

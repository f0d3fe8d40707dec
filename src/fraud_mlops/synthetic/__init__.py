"""Synthetic insurance claims whose true fraud probability is known.

`generate` yields the claims in the canonical raw schema and, apart from them, the truth.
Observables are drawn first; the probability of fraud follows from them; the label is a coin
thrown with that probability. So the truth's average precision is the best any model can reach.
"""

from fraud_mlops.synthetic.columns import (
    CATEGORICAL,
    ENTITIES,
    NUMERIC,
    claims_schema,
    synthetic_contract_columns,
    truth_schema,
)
from fraud_mlops.synthetic.fraud import KINDS
from fraud_mlops.synthetic.generator import Chunk, generate

__all__ = [
    "CATEGORICAL",
    "ENTITIES",
    "KINDS",
    "NUMERIC",
    "Chunk",
    "claims_schema",
    "generate",
    "synthetic_contract_columns",
    "truth_schema",
]

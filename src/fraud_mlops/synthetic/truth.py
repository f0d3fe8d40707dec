"""The true fraud probabilities that an ingest of generated claims has kept aside."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.stores import open_input
from fraud_mlops.words import counted


def true_probabilities(uri: str, claim_ids: pa.ChunkedArray) -> np.ndarray:
    """Probability of fraud of each claim, float64 [n], in the order of `claim_ids`.

    Raises LakehouseError when the truth of a claim is not in the file.
    """
    found = np.full(len(claim_ids), np.nan)
    ids = claim_ids.combine_chunks()
    with open_input(uri) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(columns=[CLAIM_ID, "fraud_probability"]):
            at = pc.index_in(batch.column(CLAIM_ID), value_set=ids)
            hit = pc.is_valid(at)
            places = at.filter(hit).to_numpy(zero_copy_only=False)
            found[places] = batch.column("fraud_probability").filter(hit).to_numpy()
    if np.isnan(found).any():
        missing = counted(int(np.isnan(found).sum()), "claim")
        raise LakehouseError(f"{uri}: holds no truth of {missing}")
    return found

"""Two tables of claims, column by column, as numbers and codes that can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.errors import FraudMlopsError

Pair = tuple[np.ndarray, np.ndarray]


def require_columns(reference: pa.Table, current: pa.Table, names: Sequence[str]) -> None:
    """Raises FraudMlopsError for a column that is not in both."""
    for said, table in (("training", reference), ("new", current)):
        if missing := [name for name in names if name not in table.column_names]:
            raise FraudMlopsError(
                f"drift cannot be measured: the {said} claims have no column {missing}. Give both "
                "tables every feature and the score, or leave out what they lack (score=None)."
            )


def sample(table: pa.Table, rows: int, seed: int) -> pa.Table:
    """`rows` of a longer table, in their order."""
    if table.num_rows <= rows:
        return table
    picks = np.random.default_rng(seed).choice(table.num_rows, rows, replace=False)
    return table.take(pa.array(np.sort(picks)))


def numbers(reference: pa.Table, current: pa.Table, name: str) -> Pair:
    """NaN for missing and for infinite."""
    first, second = (_finite(table.column(name)) for table in (reference, current))
    return first, second


def _finite(column: pa.ChunkedArray) -> np.ndarray:
    values = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def categories(reference: pa.Table, current: pa.Table, name: str) -> Pair:
    """Codes that both tables share; -1 for missing."""
    columns = [table.column(name).cast(pa.string()) for table in (reference, current)]
    chunks = [chunk for column in columns for chunk in column.chunks]
    values = pa.chunked_array(chunks, pa.string()).combine_chunks()
    codes = pc.fill_null(values.dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    return codes[: reference.num_rows], codes[reference.num_rows :]

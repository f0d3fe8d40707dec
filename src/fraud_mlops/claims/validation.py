"""The contract's pandera rules, applied to chunks of canonical claims."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fraud_mlops.claims import faults as reasons
from fraud_mlops.claims.faults import Faults
from fraud_mlops.claims.schema import load_pandera, pandera_schema
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, LABEL_TIME, Contract

if TYPE_CHECKING:
    import pandas as pd

_WHERE_NULL = {CLAIM_ID: reasons.MISSING_CLAIM_ID, EVENT_TIME: reasons.BAD_EVENT_TIME}


class Rules:
    """Marks the rows that break a rule, under the source's own column names."""

    def __init__(self, contract: Contract, as_of: datetime, names: Mapping[str, str]) -> None:
        load_pandera()
        import pandas as pd
        from pandera.pandas import DataFrameSchema

        schema = pandera_schema(contract, as_of)
        # Text columns that may hold anything would only be copied to pandas and back.
        ruled = {n: c for n, c in schema.columns.items() if c.checks or not c.nullable}
        self._columns = DataFrameSchema(ruled)
        # Apart, since pandera tells a broken rule of rows once for each column of the frame.
        self._rows = DataFrameSchema(checks=schema.checks)
        self._ruled = list(ruled)
        self._names = names
        self._types = {pa.int8(): pd.Int8Dtype()}

    def __call__(self, claims: pa.RecordBatch, faults: Faults) -> None:
        if not claims.num_rows:
            return
        frame = claims.select(self._ruled).to_pandas(types_mapper=self._types.get)
        self._mark(self._columns, frame, faults)
        self._mark(self._rows, frame[[LABEL_TIME, EVENT_TIME]], faults)

    def _mark(self, schema: object, frame: pd.DataFrame, faults: Faults) -> None:
        from pandera.errors import SchemaErrors

        try:
            schema.validate(frame, lazy=True)  # type: ignore[attr-defined]
        except SchemaErrors as broken:
            cases = broken.failure_cases
            if cases["index"].isna().any():  # a rule of the table, not of a row: our own mistake
                raise
            for (column, check), group in cases.groupby(["column", "check"], sort=False):
                rows = np.zeros(len(frame), dtype=np.bool_)
                rows[group["index"].to_numpy(dtype=np.int64)] = True
                reason = _WHERE_NULL[column] if check == "not_nullable" else check
                faults.mark(rows, reason, self._names[column])

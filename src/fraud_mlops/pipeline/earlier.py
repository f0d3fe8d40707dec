"""Claims that happened shortly before a partition, asked for by id."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, Contract
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.monitoring.served import LATE


class EarlierClaims:
    """The raw zone is listed once, when it is first asked; partitions are opened each time, since
    an ingest may replace them meanwhile."""

    def __init__(self, lakehouse: Lakehouse, contract: Contract) -> None:
        self._lakehouse = lakehouse
        self._contract = contract

    def among(self, claim_ids: pa.ChunkedArray, *, start: datetime) -> pa.ChunkedArray:
        """Those of claims of the partitions that reach into the time from LATE before `start`."""
        found: list[pa.Array] = []
        where = [(CLAIM_ID, "in", claim_ids.to_pylist())]
        for listed, span in self._spans:
            if span.start < start and span.end > start - LATE:
                place = "raw", self._contract.name, listed.key, listed.value
                partition = self._lakehouse.partition(*place)
                batches = self._lakehouse.batches([partition], [CLAIM_ID], where=where)
                found += [batch.column(CLAIM_ID) for batch in batches]
        return pa.chunked_array(found, pa.string())

    @cached_property
    def _spans(self) -> list[tuple[Listed, PartitionRange]]:
        return [
            (listed, PartitionRange.of(listed.value, None, self._contract.partition))
            for listed in self._lakehouse.listed("raw", self._contract.name)
        ]

"""Where the partitions of a dataset begin and end, as far as its contract says.

- Generated claims: as the generator's dates say.
- Claims in a folder or a pattern keep coming: they have no end.
- One file whose contract gives dates is a closed history, which ends with its OOT window. Write
  `claims*.csv` for a file that grows or is followed by others.
- Claims in files begin at FRAUD_FIRST_PARTITION where it is set, else at the contract's
  `first_partition`, else with its training window, else at DEFAULT_FIRST: never later than a
  training window that is given as dates, whose claims have to lie in partitions.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fraud_mlops.contract import Contract, DateSplit
from fraud_mlops.settings import settings
from fraud_mlops.sources import FileSource, SyntheticSource

DEFAULT_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_PATTERN = re.compile(r"[*?\[]")
_FILE = re.compile(r"\.[A-Za-z0-9]+$")


def span_of(contract: Contract) -> tuple[datetime, datetime | None]:
    """First moment, and the end, which is excluded; None where claims keep coming."""
    source, split = contract.source, contract.split
    if isinstance(source, SyntheticSource):
        return source.start, source.end
    first = settings().first_partition or contract.first_partition
    if not isinstance(split, DateSplit):
        return first or DEFAULT_FIRST, None
    begins = min(first or split.train.start, split.train.start)
    return begins, split.oot.end if _is_one_file(source) else None


def begin_with(partition: str) -> str:
    """What to do, in words, for partitions to begin there: in the place that is asked first."""
    if settings().first_partition is None:
        return f"set `first_partition: {partition}` in the contract"
    return f"set FRAUD_FIRST_PARTITION={partition}, which goes before the contract"


def _is_one_file(source: FileSource) -> bool:
    return bool(_FILE.search(source.uri)) and not _PATTERN.search(source.uri)

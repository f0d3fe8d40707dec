"""A program of its own, as a step of a flow is: publishes a partition and a report, and reads both.

    python publish_and_read.py ROOT

It logs all that any library logs, so that a test may look for what must not be in it.
"""

from __future__ import annotations

import logging
import sys

import pyarrow as pa

from dagster_metaflow.reports import Materialization, read_reports, write_report
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.partitions import Lakehouse

TABLE = pa.table({"claim_id": ["a", "b"], "amount": [1.0, 2.0]})


def main(root: str) -> None:
    lake = Lakehouse(root)
    made = lake.write("raw", "motor", "month", "2024-01", TABLE.to_batches(), TABLE.schema)
    assert lake.partitions("raw", "motor") == [made]
    assert lake.read([made]).equals(TABLE)
    lake.verify(made)
    said = [Materialization(data_version=made.data_version, partition="2024-01")]
    write_report(root, "IngestFlow", "one", ["motor", "raw"], said, [], run="IngestFlow/1")
    assert len(read_reports(root, "IngestFlow", "one")) == 1
    print(f"published {made.uri}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    try:
        main(sys.argv[1])
    except FraudMlopsError as error:
        sys.exit(f"error: {error}")

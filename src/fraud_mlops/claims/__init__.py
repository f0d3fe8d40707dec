"""Claims from a contract's source: read, validated, quarantined, published as raw partitions."""

from fraud_mlops.claims.inference import resolve
from fraud_mlops.claims.ingest import ingest
from fraud_mlops.claims.report import ColumnProfile, IngestReport
from fraud_mlops.claims.schema import raw_schema

__all__ = ["ColumnProfile", "IngestReport", "ingest", "raw_schema", "resolve"]

"""Raw claims, and files of features, as Spark reads them.

Columns bear positional names there, as in DuckDB: no name of a dataset can be a keyword, or differ
from another only in case. Times are microseconds since 1970, which no session's time zone moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.features.split import microseconds
from fraud_mlops.features.timeline import DAY
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.moments import TICK
from fraud_mlops.spark.delivery import spark_pattern

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def positions(schema: pa.Schema) -> dict[str, str]:
    """The positional name of each column."""
    return {name: f"c{i}" for i, name in enumerate(schema.names)}


def read(spark: SparkSession, uris: Sequence[str], schema: pa.Schema) -> DataFrame:
    """Columns of Parquet objects under positional names, rows in any order."""
    from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
    from pyspark.sql.types import StructType

    if len({name.lower() for name in schema.names}) < len(schema):
        spark.conf.set("spark.sql.caseSensitive", "true")
    asked = StructType()
    for field in schema:
        asked.add(field.name, _spark_type(field.type))
    reader = spark.read.schema(asked).option("recursiveFileLookup", "true")
    frame = reader.parquet(*map(spark_pattern, uris)).toDF(*positions(schema).values())
    times = [f"c{i}" for i, field in enumerate(schema) if pa.types.is_timestamp(field.type)]
    return frame.withColumns({name: F.unix_micros(name) for name in times})


def claims(
    spark: SparkSession,
    contract: Contract,
    schema: pa.Schema,
    uris: Sequence[str],
    as_of: datetime,
) -> DataFrame:
    """Raw claims; label and label_time as features may use them (`OrderedClaims`): a label from
    label_time on, never before event time plus the delay, not at all when that is after as_of."""
    from pyspark.sql import functions as F  # noqa: N812

    names = positions(schema)
    event, label, known = (F.col(names[n]) for n in (EVENT_TIME, LABEL, LABEL_TIME))
    delay = contract.label.delay // TICK
    usable = F.greatest(known, event + F.lit(delay).cast("long"))
    mature = usable <= F.lit(microseconds(as_of)).cast("long")
    return read(spark, uris, schema).withColumns(
        {
            names[LABEL]: F.when(mature, label),
            names[LABEL_TIME]: F.when(mature & label.isNotNull(), usable),
        }
    )


def order(schema: pa.Schema) -> tuple[str, str]:
    """Positional names of event time and claim id."""
    names = positions(schema)
    return names[EVENT_TIME], names[CLAIM_ID]


def day_of(times: Column) -> Column:
    """Days since 1970, also before it."""
    from pyspark.sql import functions as F  # noqa: N812

    day = F.lit(DAY).cast("long")
    return ((times - F.pmod(times, day)) / day).cast("long")


def partition_value(times: Column, period: Period) -> Column:
    """As `periods.partition_value`: `2024-01-31`, a week's Monday, or `2024-01`."""
    from pyspark.sql import functions as F  # noqa: N812

    date = F.date_from_unix_date(day_of(times).cast("int"))  # of UTC, whatever the session's zone
    if period == "week":
        date = F.date_sub(date, F.weekday(date))
    return F.date_format(date, "yyyy-MM" if period == "month" else "yyyy-MM-dd")


def _spark_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return {pa.int8(): "byte", pa.float64(): "double", pa.float32(): "float"}.get(kind, "string")

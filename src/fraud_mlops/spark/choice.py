"""Which engine works on so many claims: this machine, or Spark."""

from __future__ import annotations

import importlib.util
from typing import Literal

from fraud_mlops.settings import settings

Engine = Literal["auto", "local", "spark"]
ENGINES: tuple[Engine, ...] = ("auto", "local", "spark")


def on_spark(engine: Engine, claims: int) -> bool:
    """auto: from FRAUD_SPARK_ROWS claims on, where PySpark is installed."""
    if engine != "auto":
        return engine == "spark"
    if claims < settings().spark_rows:
        return False
    if importlib.util.find_spec("pyspark") is None:
        print(
            f"note: {claims:,} claims would go to Spark (FRAUD_SPARK_ROWS), which is not "
            "installed: pip install 'fraud-mlops[spark]'"
        )
        return False
    return True

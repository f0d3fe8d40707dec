"""One Spark of this machine for all of these tests, started as the engine starts it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from fraud_mlops.settings import settings
from fraud_mlops.spark.session import spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with pytest.MonkeyPatch.context() as patch:
        if "FRAUD_SPARK_MASTER" not in os.environ:  # see test_spark_connect
            patch.setenv("FRAUD_SPARK_MASTER", "local[2,4]")  # two tasks at a time, four attempts
        patch.setenv("FRAUD_MEMORY_LIMIT", "1GB")
        settings.cache_clear()
        with spark_session() as session:
            yield session
    settings.cache_clear()

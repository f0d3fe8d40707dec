"""Claims with their truth in one pandas frame, made once for all tests that only look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import generate


@pytest.fixture(scope="session")
def source() -> Callable[..., SyntheticSource]:
    def make(**changed: Any) -> SyntheticSource:
        usual = {"claims": 20_000, "start": "2022-01-01", "end": "2025-01-01", "seed": 7}
        usual |= {"drift_from": "2023-07-01"}
        return SyntheticSource(kind="synthetic", **(usual | changed))

    return make


def tables(source: SyntheticSource, **options: int) -> tuple[pa.Table, pa.Table]:
    claims, truth = zip(*generate(source, **options), strict=True)
    return pa.Table.from_batches(claims), pa.Table.from_batches(truth)


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., tuple[pa.Table, pa.Table]]:
    return tables


def frame(source: SyntheticSource) -> pd.DataFrame:
    claims, truth = tables(source)
    assert claims["claim_id"].equals(truth["claim_id"])
    return claims.to_pandas().join(truth.drop(["claim_id"]).to_pandas())


@pytest.fixture(scope="session")
def many(source: Callable[..., SyntheticSource]) -> pd.DataFrame:
    """200,000 claims of 2022 to 2024 with a drift in July 2023."""
    return frame(source(claims=200_000))


@pytest.fixture(scope="session")
def few(source: Callable[..., SyntheticSource]) -> pd.DataFrame:
    """20,000 claims, the size of a first run."""
    return frame(source())

"""What training itself went through is no news, and what is more than that is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.distances import share_moved
from fraud_mlops.monitoring.drift import measure_drift
from fraud_mlops.monitoring.drift_report import DriftReport

MONTH = 600
SUMMER = 0.8


def claims(means: list[float], seed: int, *, missing: list[float] | None = None) -> pa.Table:
    """MONTH claims of each month; all claims of a month move together, as histories do."""
    rng = np.random.default_rng(seed)
    at = np.repeat(means, MONTH)
    values = rng.normal(at, 1)
    gone = rng.random(len(at)) < np.repeat(missing or [0.0] * len(means), MONTH)
    return pa.table(
        {
            "busy": pa.array(np.where(gone, np.nan, values), from_pandas=True),
            "model_score": rng.normal(size=len(at)),
        }
    )


def measured(reference: pa.Table, current: pa.Table) -> DriftReport:
    return measure_drift(
        reference, current, numeric=["busy"], categorical=[], limits=Drift(), classifier=False
    )


YEAR = [0.0] * 5 + [SUMMER] * 2 + [0.0] * 5


@pytest.mark.parametrize("seed", range(5))
def test_another_summer_is_no_drift(seed: int) -> None:
    reference = claims(YEAR, seed)
    report = measured(reference, claims([SUMMER], 100 + seed))
    (feature,) = report.features
    assert feature.psi is not None
    assert feature.psi > Drift().psi_warn + 0.1, "by the limit alone it would be told"
    assert feature.verdict == "stable", report.reasons
    assert measured(reference, claims([0.0], 200 + seed)).features[0].verdict == "stable"


def test_a_summer_that_training_has_not_seen_is() -> None:
    (feature,) = measured(claims([0.0] * 12, 1), claims([SUMMER], 2)).features
    assert feature.verdict == "drift"


def test_more_than_any_summer_is() -> None:
    (feature,) = measured(claims(YEAR, 1), claims([2 * SUMMER], 2)).features
    assert feature.verdict == "drift"


def test_so_it_is_with_missing_values() -> None:
    winter = [0.3] * 6 + [0.6] * 6
    reference = claims([0.0] * 12, 1, missing=winter)
    (usual,) = measured(reference, claims([0.0], 2, missing=[0.6])).features
    (worse,) = measured(reference, claims([0.0], 2, missing=[0.9])).features
    assert (usual.verdict, worse.verdict) == ("stable", "drift")
    (unseen,) = measured(
        claims([0.0] * 12, 1, missing=[0.45] * 12), claims([0.0], 2, missing=[0.6])
    ).features
    assert unseen.verdict == "drift"


@pytest.mark.parametrize("bad", [1, 3])
def test_an_outage_in_training_is_no_excuse_for_one_now(bad: int) -> None:
    reference = claims([0.0] * 12, 1, missing=[1.0] * bad + [0.0] * (12 - bad))
    (feature,) = measured(reference, claims([0.0], 2, missing=[1.0])).features
    assert feature.verdict == "drift"


def test_chance_alone_is_no_movement() -> None:
    rng = np.random.default_rng(0)
    flags = [rng.random(MONTH) < 0.3 for _ in range(12)]
    summer = [rng.random(MONTH) < 0.6 for _ in range(2)]
    assert share_moved(flags) < 0.05
    assert share_moved([*flags, *summer]) > 0.2
    assert share_moved([*flags, *summer[:1]]) < 0.1
    assert share_moved([]) == 0

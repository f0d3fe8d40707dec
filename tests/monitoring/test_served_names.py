"""Answers of the model that the batch scored with, under whatever name it gave them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.served import BatchClaims, served_report


def test_answers_are_the_models_under_every_name_it_had() -> None:
    answers = pa.table({
        "claim_id": ["a", "b", "c"], "model_version": ["now", "before", "another"],
        "score": [0.1, 0.2, 0.3], "alert": [False, True, False],
    })  # fmt: skip
    batch = BatchClaims(
        claim_ids=pa.chunked_array([["a", "b", "c"]]),
        times=np.array(["2024-01-01"] * 3, "datetime64[us]"),
        labels=np.array([0.0, 1.0, np.nan]),
        scores=np.array([0.1, 0.2, 9.0]),
        alerts=np.array([False, True, True]),
        amounts=None,
    )
    for versions, own in ((("now",), 1), (("now", "before"), 2)):
        report = served_report(
            answers, batch, versions=versions, training=None, limits=Drift(), period="month"
        )
        assert report is not None
        assert report.by_model == own
        assert report.same_scores == 1.0

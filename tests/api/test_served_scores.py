"""What the API answered is measured beside training, the batch's scores and what became known."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from api_kit import DATASET, Published, as_sent, open_server

from fraud_mlops.contract import EVENT_TIME
from fraud_mlops.pipeline.leading import pinned_champion
from fraud_mlops.pipeline.monitoring import monitor
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.reporting.served import complaints, served_metrics

Figures = dict[str, float]


def answered(own: Published, folder: Path, claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a server says of claims that come together."""
    lines = "\n".join(json.dumps(claim) for claim in claims)
    media = {"Content-Type": "application/x-ndjson"}
    with open_server(own, folder) as server:
        told = server.post("/v1/score/batch?reasons=none", data=lines, headers=media)
    return [json.loads(line) for line in told.text.splitlines()]


def measured(own: Published, partition: str = "2024-10") -> Figures:
    """Figures of the newest partition with answers, by a run that scores and measures."""
    plan = plan_run(str(own.contract), run="Test/1", output_uri=str(own.root), launch_id="test")
    leader = pinned_champion(plan)
    monitor(plan, own.features, leader, score(plan, own.features, leader))
    found = served_metrics(own.lake, DATASET)
    assert found is not None
    assert found[0] == partition
    return found[1]


def figures_of(own: Published, partition: str) -> Figures:
    """Of served scores, as the last run has measured them."""
    (place,) = [p for p in own.lake.partitions("metrics", DATASET) if p.value == partition]
    rows = own.lake.read([place], ["window", "metric", "value"]).to_pylist()
    return {row["metric"]: row["value"] for row in rows if row["window"] == "served"}


def in_month(own: Published, month: int) -> pa.Table:
    claims = own.claims
    return claims.filter(pc.equal(pc.month(claims.column(EVENT_TIME)), month))


def test_answers_stand_beside_the_batchs_scores(own: Published, tmp_path: Path) -> None:
    claims = in_month(own, 12)
    told = answered(own, tmp_path, as_sent(claims, own.features))
    figures = measured(own, "2024-12")
    assert figures["predictions"] == figures["matched"] == figures["rows"] == len(told)
    assert figures["compared"] == len(told)
    assert figures["same_scores"] == figures["same_decisions"] == 1
    assert figures["most_apart"] < 1e-5
    assert figures["psi_batch"] == pytest.approx(0, abs=1e-6)
    # Training has no year of whole histories, which its scores would have to be measured by.
    assert "psi_training" not in figures
    assert list(complaints(figures, 100)) == []


def test_performance_is_that_of_the_answers_once_labels_are_known(
    own: Published, tmp_path: Path
) -> None:
    claims = in_month(own, 10)
    told = answered(own, tmp_path, as_sent(claims, own.features))
    figures = measured(own)
    labels = claims["label"].to_numpy(zero_copy_only=False).astype(float)
    alerts = np.array([row["alert"] for row in told])
    assert figures["labelled"] == (~np.isnan(labels)).sum() > 100
    assert figures["alerts"] == alerts.sum() > 0
    frauds, known = labels == 1, alerts & ~np.isnan(labels)
    assert figures["precision_of_alerts"] == pytest.approx(frauds[known].mean())
    assert figures["recall_of_alerts"] == pytest.approx((frauds & alerts).sum() / frauds.sum())


def test_claims_that_come_otherwise_than_the_batch_has_them_are_noticed(
    own: Published, tmp_path: Path
) -> None:
    claims = as_sent(in_month(own, 10), own.features)
    odd = [{**claim, "amount": 90_000.0} for claim in claims]
    answered(own, tmp_path, [*odd, *odd])
    figures = measured(own)
    assert figures["same_scores"] < 0.1
    # Of training, as figures of a dataset with a year of whole histories have it.
    distribution, scores = complaints(figures | {"psi_training": 0.9, "verdict_training": 2.0}, 100)
    assert "unlike those of training" in distribution
    assert "have another score in the batch" in scores
    assert not list(complaints({"matched": 900, "compared": 20, "same_scores": 0.5}, 100))


def test_the_last_answer_on_a_claim_is_the_one_that_counts(own: Published, tmp_path: Path) -> None:
    claims = as_sent(in_month(own, 10), own.features)
    answered(own, tmp_path, [{**claim, "amount": 90_000.0} for claim in claims])
    last = answered(own, tmp_path, claims)
    figures = measured(own)
    assert figures["predictions"] == 2 * len(claims)
    assert figures["rows"] == figures["matched"] == len(claims)
    assert figures["alerts"] == sum(row["alert"] for row in last)


def test_a_claim_that_is_scored_days_after_it_happened_counts_in_its_own_month(
    published: Published, own: Published, tmp_path: Path
) -> None:
    """As one of now, whose event time was left out: its answer is dated in the month after."""
    shutil.copytree(published.root / "raw", own.root / "raw")
    claims = in_month(own, 10)[-60:]
    sent = as_sent(claims, own.features)
    late = claims[EVENT_TIME][-1].as_py() + timedelta(days=5)
    told = answered(own, tmp_path, [{**claim, "event_time": late.isoformat()} for claim in sent])
    november = measured(own, "2024-11")
    assert (november["predictions"], november["unmatched"], november["matched"]) == (60, 0, 0)
    october = figures_of(own, "2024-10")
    assert october["matched"] == october["rows"] == 60
    assert october["compared"] == 0, "its history is that of another moment"
    assert "same_scores" not in october
    assert october["alerts"] == sum(row["alert"] for row in told)
    assert october["labelled"] == len(claims) - claims["label"].null_count
    assert october["predictions"] == 0


def test_raw_claims_are_not_read_while_every_answer_has_its_claim(
    published: Published, own: Published, tmp_path: Path
) -> None:
    shutil.copytree(published.root / "raw", own.root / "raw")
    answered(own, tmp_path, as_sent(in_month(own, 10), own.features))
    for file in (own.root / "raw").rglob("*.parquet"):
        file.write_bytes(b"nobody can read this")
    assert measured(own)["unmatched"] == 0


def test_answers_that_no_claim_belongs_to_are_noticed(own: Published, tmp_path: Path) -> None:
    claims = as_sent(in_month(own, 10), own.features)
    answered(own, tmp_path, [{**claim, "claim_id": f"0{claim['claim_id']}"} for claim in claims])
    figures = measured(own)
    assert len(claims) - 1 <= figures["unmatched"] <= figures["predictions"] == len(claims)
    (told,) = complaints({"predictions": 1000, "unmatched": 250}, 100)
    assert told == "25% of the answers name no claim that was ingested"
    assert not list(complaints({"predictions": 1000, "unmatched": 150}, 100))


def test_a_file_of_the_log_that_cannot_be_read_ends_no_run_and_is_told(
    own: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = as_sent(in_month(own, 10), own.features)
    answered(own, tmp_path, claims)
    [day] = (own.root / "prediction_log" / DATASET).iterdir()
    (day / "copy.parquet").write_bytes(b"PAR1 half a file")
    figures = measured(own)
    assert (figures["predictions"], figures["unreadable"]) == (len(claims), 1)
    assert f"{day.name}/copy.parquet cannot be read" in capsys.readouterr().out
    assert "1 file of the prediction log cannot be read" in list(complaints(figures, 100))


def test_without_an_answer_nothing_is_written(own: Published) -> None:
    plan = plan_run(str(own.contract), run="Test/1", output_uri=str(own.root), launch_id="test")
    leader = pinned_champion(plan)
    monitor(plan, own.features, leader, score(plan, own.features, leader))
    assert served_metrics(own.lake, DATASET) is None

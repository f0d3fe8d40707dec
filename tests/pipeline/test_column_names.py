"""Claims whose columns are called as ours are: the whole of a run, and its scores and drift."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run_kit import Run

from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline.monitoring import monitor
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.reference import read_reference
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.loading import load_model, scorer_of

NUMERIC = ("score", "probability", "window", "rank", "Score", "position", "value", "rows")
NUMERIC += ("_id", "__base__", "model_config", "model_dump", "model_copy", "copy", "features")
CATEGORICAL = ("alert", "reasons", "model_version", "partition", "slice", "metric")
CONTRACT = """\
name: namesakes
source: {uri: claims.csv}
claim_id: id
event_time: {column: day}
label: {column: fraud, delay: 0}
split: {train: 0.5, validation: 0.25, oot: 0.25}
"""


def test_a_column_may_be_called_as_anything_of_ours(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(5), 2_000
    fraud = rng.random(rows) < 0.2
    table = pd.DataFrame({"id": [f"c{n}" for n in range(rows)]})
    table["day"] = pd.date_range("2024-01-01", "2024-06-30", rows).strftime("%Y-%m-%d")
    table["fraud"] = fraud.astype(int)
    for name in NUMERIC:
        table[name] = rng.normal(fraud, 1).round(3)
    for name in CATEGORICAL:
        table[name] = rng.choice(["a", "b", "c"], rows)
    table.to_csv(tmp_path / "claims.csv", index=False)
    (tmp_path / "namesakes.yaml").write_text(CONTRACT)
    plan = plan_run(
        str(tmp_path / "namesakes.yaml"), run="Test/1", output_uri=str(tmp_path / "lake"), seed=3
    )
    light = Candidate(name="line", params=LogisticParams(epochs=8, learning_rate=0.05))
    run = Run(plan.model_copy(update={"candidates": (light,)}))
    assert set(run.features.contract.numeric or ()) == {*NUMERIC}
    reference = read_reference(run.validated.files)
    assert reference is not None
    assert {"score", "model_score"} < set(reference.column_names)
    scores = run.score()
    assert sum(partition.rows for partition in scores) == run.features.scored_rows
    (drift,) = monitor(run.plan, run.features, run.leader, scores).drift
    assert {"score", "rank"} < {feature.feature for feature in drift.features}
    assert drift.score is not None
    assert drift.score.feature == "model_score"
    run.publish()
    _is_served(run, {name: table[name][0] for name in (*NUMERIC, *CATEGORICAL)})


def _is_served(run: Run, claim: dict[str, Any]) -> None:
    loaded = load_model(run.plan.model_uri, "namesakes", run.validated.version)
    scorer = scorer_of(loaded, EntityHistories(loaded.contract, None))
    read = scorer.reader.read(json.dumps(claim).encode())
    read = read.model_copy(update={"event_time": datetime(2024, 7, 1, tzinfo=UTC)})
    inputs = scorer.prepare([read])
    given = dict(zip(scorer.numeric, inputs.values[0].tolist(), strict=True))
    words = dict(zip(scorer.categorical, (column[0] for column in inputs.words), strict=True))
    assert given | words == claim
    assert not scorer.warnings(inputs)

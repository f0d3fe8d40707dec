"""The whole run, as a data scientist starts it and a platform engineer breaks it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest
from flow_kit import Ended, Place, kill_once, kill_when

pytestmark = pytest.mark.flow
DATASET = "synthetic_claims"
RUN = ("--sample-size", "6000", "--seed", "7")


def champion(place: Place, dataset: str = DATASET) -> str:
    pointer = json.loads((place.root / "models" / dataset / "champion.json").read_text())
    return str(pointer["version"])


def test_one_command_leaves_scores_metrics_and_a_champion(finished: tuple[Place, Ended]) -> None:
    place, ended = finished
    scores = place.lake.read(place.lake.partitions("ml_outputs", DATASET))
    raw = place.lake.read(place.lake.partitions("raw", DATASET), ["claim_id", "event_time"])
    since = pc.min(scores["event_time"])
    expected = raw.filter(pc.greater_equal(raw["event_time"], since))["claim_id"]
    assert sorted(scores["claim_id"].to_pylist()) == sorted(expected.to_pylist())
    assert scores.column_names == [
        "claim_id",
        "event_time",
        "score",
        "probability",
        "alert",
        "reasons",
        "model_version",
    ]
    alerts = scores.filter(scores["alert"])
    assert 0.02 < alerts.num_rows / scores.num_rows < 0.12
    assert pc.min(pc.list_value_length(alerts["reasons"])).as_py() >= 1
    assert set(scores["model_version"].to_pylist()) == {champion(place)}
    assert champion(place) in ended.output


def test_generated_claims_do_not_drift_before_their_drift_begins(
    finished: tuple[Place, Ended],
) -> None:
    _, ended = finished
    assert "Drift   out of time: drift" not in ended.output
    assert re.search(r"Drift   later claims: (warn|drift): .*channel", ended.output)


def test_scores_rank_fraud_above_chance(finished: tuple[Place, Ended]) -> None:
    place, _ = finished
    metrics = place.lake.read(place.lake.partitions("metrics", DATASET)).to_pandas()
    keys = ["dataset", "partition", "window", "slice", "metric", "model_version"]
    assert not metrics.duplicated(keys).any()
    oot = metrics[(metrics["window"] == "oot") & (metrics["slice"] == "all")]
    values = oot.set_index("metric")
    found, rate = values.loc["average_precision"], values.loc["prevalence", "value"]
    assert found["value"] > 3 * rate
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] < values.loc["oracle_average_precision", "value"] + 0.1


def test_each_asset_is_reported_to_whoever_launched_the_run(finished: tuple[Place, Ended]) -> None:
    place, _ = finished
    reports = place.reports("FraudDetectionFlow", "undisturbed")
    assert list(reports) == ["raw_zone", "ml_outputs", "metrics", "model_artifact"]


def test_the_bundle_names_the_runs_that_it_comes_from(finished: tuple[Place, Ended]) -> None:
    place, ended = finished
    version = place.root / "models" / DATASET / champion(place)
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["run"] == f"FraudDetectionFlow/{ended.run_id}"
    assert manifest["dagster_run_id"] == "1f0c"


def test_cards_are_there_to_look_at(finished: tuple[Place, Ended]) -> None:
    place, ended = finished
    for step in ("ingest", "leaderboard", "validate_oot", "monitor"):
        out = place.folder / f"{step}.html"
        got = place.flow("card", "get", f"{ended.run_id}/{step}", str(out))
        assert got.code == 0, got.output
        data = re.search(r'__MF_DATA__\[[^\]]*\]\s*=\s*"([^"]+)"', out.read_text())
        assert data, "a card's components stand in it as base64"
        assert base64.b64decode(data[1]).count(b"data:image/png") >= 3


def test_the_same_seed_gives_the_same_outputs(finished: tuple[Place, Ended], place: Place) -> None:
    before, _ = finished
    again = place.run(*RUN)
    assert again.code == 0, again.output
    assert place.versions() == before.versions()
    assert champion(place) == champion(before)


LONG = """\
- {name: long, family: mlp, seed: 1, params: {epochs: 12, width: 32, blocks: 1, bins: 8}}
- {name: line, family: logistic, seed: 2, params: {epochs: 4}}
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A run whose training takes some seconds, so that it can be killed in the middle."""
    made = Place(tmp_path_factory.mktemp("undisturbed"))
    ended = made.run(*RUN, candidates=LONG)
    assert ended.code == 0, ended.output
    yield made
    made.stop_all()


def begun(place: Place) -> subprocess.Popen[str]:
    options = place.options("fraud_detection_flow", LONG)
    return place.start("run", *options, *RUN, "--launch-id", "killed")


def resumed_to(undisturbed: Place, place: Place, killed: Ended) -> tuple[list[str], str]:
    """Tasks that were run once more, and what they said."""
    assert not (place.root / "models" / DATASET / "champion.json").exists()
    resumed = place.flow("resume", "--origin-run-id", killed.run_id)
    assert resumed.code == 0, resumed.output
    assert place.versions() == undisturbed.versions()
    assert champion(place) == champion(undisturbed)
    again = re.findall(r"/(\w+)/\d+ \(pid \d+\)\] Task is starting", resumed.output)
    return again, resumed.output


def scored(place: Place) -> list[Path]:
    return list((place.root / "ml_outputs" / DATASET).glob("*/part-0.parquet"))


def test_a_run_killed_between_two_epochs_resumes_to_the_same_outputs(
    undisturbed: Place, place: Place
) -> None:
    killed = kill_when(begun(place), lambda line: "long: epoch 1 of 12" in line)
    assert "long: epoch 1 of 12" in killed.output
    again, said = resumed_to(undisturbed, place, killed)
    assert "long: epoch 1 of 12" in said, "it had not been done, and is trained from the start"
    assert "ingest" not in again, "finished steps are not run again"


def test_a_run_killed_between_two_partitions_resumes_to_the_same_outputs(
    undisturbed: Place, place: Place
) -> None:
    killed = kill_once(begun(place), lambda: bool(scored(place)))
    assert 0 < len(scored(place)) < len(scored(undisturbed))
    assert "ml_outputs" not in place.reports("FraudDetectionFlow", "killed")
    first = next(iter(place.lake.partitions("ml_outputs", DATASET)))
    by = place.lake.metadata(first)["model_version"]
    assert (place.root / "models" / DATASET / by / "manifest.json").exists(), "it can be looked up"
    again, _ = resumed_to(undisturbed, place, killed)
    assert "score" in again
    assert "train" not in again, "finished steps are not run again"


def test_a_candidate_that_fails_is_told_on_the_leaderboard_and_sinks_nothing(place: Place) -> None:
    ended = place.run(
        *RUN,
        candidates="""\
- {name: line, family: logistic, params: {epochs: 3}}
- {name: nobody, family: mlp, params: {schedule: constant, learning_rate: 1, weight_decay: 10}}
""",
    )
    assert ended.code == 0, ended.output
    told = [line for line in ended.output.splitlines() if "nobody" in line and "failed" in line]
    assert told, "the leaderboard has a row for it"
    assert "Traceback" not in ended.output


def test_a_worse_challenger_never_replaces_the_champion(place: Place) -> None:
    assert place.run(*RUN).code == 0
    first = champion(place)
    worse = "- {name: lazy, family: logistic, params: {epochs: 1, learning_rate: 1.0e-6}}\n"
    ended = place.run(*RUN, candidates=worse)
    assert ended.code == 0, ended.output
    assert champion(place) == first
    challenger = json.loads((place.root / "models" / DATASET / "challenger.json").read_text())
    assert challenger["version"] != first
    scores = place.lake.read(place.lake.partitions("ml_outputs", DATASET), ["model_version"])
    assert set(scores["model_version"].to_pylist()) == {first}


def test_a_users_mistake_is_a_message_without_a_stack_trace_or_a_retry(place: Place) -> None:
    csv = place.file("claims.csv", "id,when,fraud\n1,2024-01-01,maybe\n2,2024-01-02,perhaps\n")
    contract = place.file(
        "broken.yaml",
        f"""\
name: broken
source: {{uri: {csv}}}
claim_id: id
event_time: {{column: when}}
label: {{column: fraud, delay: 0d}}
""",
    )
    ended = place.run("--dataset", str(contract))
    assert ended.code != 0
    assert "claims.csv, row 1" in ended.output
    assert "max_bad_share" in ended.output
    assert "Traceback" not in ended.output
    assert ended.output.count("Task is starting") == 2, "start and ingest, once each"
    assert not (place.root / "raw").exists()


def test_an_unknown_dataset_names_the_known_ones(place: Place) -> None:
    ended = place.run("--dataset", "vehicle_claim")
    assert ended.code != 0
    assert "vehicle_claims" in ended.output
    assert "Traceback" not in ended.output


def test_a_dataset_is_added_by_a_yaml_alone(place: Place) -> None:
    """Transactions of cards at merchants: two entities, seconds, labels a week late."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(5)
    n = 6000
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(
        np.sort(rng.uniform(0, 120 * 86400, n)), "s"
    )
    merchant = rng.integers(0, 60, n)
    amount = np.exp(rng.normal(3, 1, n))
    odds = -4.5 + 2 * (amount > 60) + 3 * (merchant < 6)
    frame = pd.DataFrame(
        {
            "tx": [f"t{i}" for i in range(n)],
            "at": when.floor("s"),
            "card": rng.integers(0, 800, n).astype(str),
            "merchant": merchant.astype(str),
            "value": amount,
            "channel": rng.choice(["web", "pos", None], n),
            "is_fraud": (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(int),
        }
    )
    (place.folder / "landing").mkdir()
    for i, part in enumerate(np.array_split(np.arange(n), 3)):
        frame.iloc[part].to_parquet(place.folder / "landing" / f"{i}.parquet")
    contract = place.file(
        "cards.yaml",
        """\
name: cards
source: {uri: landing}
claim_id: tx
event_time: {column: at}
label: {column: is_fraud, delay: 7d}
amount: value
entities: {card: card, merchant: merchant}
partition: week
alerts: {budget: 0.1}
""",
    )
    ended = place.run("--dataset", str(contract))
    assert ended.code == 0, ended.output
    metrics = place.lake.read(place.lake.partitions("metrics", "cards")).to_pandas()
    oot = metrics[(metrics["window"] == "oot") & (metrics["slice"] == "all")].set_index("metric")
    assert oot.loc["roc_auc", "value"] > 0.65


def test_a_wide_table_without_any_entity_works(place: Place) -> None:
    """1,000 rows, 40 columns, no entity, no amount, no claim id."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(6)
    numbers = rng.normal(size=(1000, 37))
    fraud = rng.random(1000) < 1 / (1 + np.exp(2.2 - 1.5 * numbers[:, 0]))
    frame = pd.DataFrame(numbers, columns=[f"x{i}" for i in range(37)])
    frame["kind"] = rng.choice(["a", "b", "c"], 1000)
    frame["day"] = pd.date_range("2024-01-01", periods=1000, freq="8h").strftime("%d/%m/%Y")
    frame["fraud"] = np.where(fraud, "Y", "N")
    frame.to_csv(place.folder / "wide.csv", index=False, sep="|")
    contract = place.file(
        "wide.yaml",
        """\
name: wide
source: {uri: wide.csv, csv: {separator: "|"}}
event_time: {column: day, format: "%d/%m/%Y"}
label: {column: fraud, delay: 0d}
""",
    )
    ended = place.run("--dataset", str(contract))
    assert ended.code == 0, ended.output
    assert place.lake.partitions("ml_outputs", "wide")


REAL = Path(__file__).parents[3] / "shared" / "data" / "vehicle_claims.csv"


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="the real claims are not on this machine")
def test_real_vehicle_claims_go_the_same_way(place: Place) -> None:
    ended = place.run("--dataset", "vehicle_claims")
    assert ended.code == 0, ended.output
    scores = place.lake.partitions("ml_outputs", "vehicle_claims")
    assert [p.value for p in scores] == [f"1996-{month:02}" for month in range(1, 13)]
    assert sum(p.rows for p in place.lake.partitions("raw", "vehicle_claims")) == 15_420

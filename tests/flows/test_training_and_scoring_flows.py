"""Training and scoring as flows of their own, on a raw zone that stands already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_kit import Ended, Place, kill_when

from fraud_mlops.registry.pointers import promote, read_pointer

pytestmark = pytest.mark.flow
DATASET = "synthetic_claims"
CLAIMS = ("--sample-size", "6000", "--seed", "7")
INGEST, TRAINING, SCORING = "ingest_flow", "training_flow", "scoring_flow"
LATEST = ("--partition-start", "2024-10", "--partition-end", "2024-12")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Claims are ingested, and there is a champion; nothing is scored."""
    place = Place(tmp_path_factory.mktemp("trained"))
    ingested = place.run(*CLAIMS, flow=INGEST)
    assert ingested.code == 0, ingested.output
    ended = place.run("--seed", "7", "--launch-id", "first", flow=TRAINING)
    assert ended.code == 0, ended.output
    (place.root / "said.txt").write_text(ended.output)
    yield place
    place.stop_all()


@pytest.fixture
def copy(trained: Place, tmp_path: Path) -> Iterator[Place]:
    """The same claims and champion, for one test alone."""
    shutil.copytree(trained.root, tmp_path / "lake")
    place = Place(tmp_path)
    yield place
    place.stop_all()


def steps(ended: Ended) -> list[str]:
    """Of the tasks that were run."""
    lines = [line for line in ended.output.splitlines() if "Task is starting" in line]
    return [line.partition("[")[2].split("/")[1] for line in lines]


def test_one_after_the_other_they_leave_what_the_whole_flow_leaves(
    copy: Place, finished: tuple[Place, Ended]
) -> None:
    scored = copy.run("--seed", "7", flow=SCORING)
    assert scored.code == 0, scored.output
    assert copy.versions() == finished[0].versions()
    assert copy.champion() == finished[0].champion()
    assert f"by {copy.champion()}" in scored.output


def test_a_training_is_reported_with_checks_figures_and_plots(trained: Place) -> None:
    told = trained.reports("TrainingFlow", "first")["model_artifact"]
    assert told.passed == {
        "oot_window_untouched": True,
        "label_maturity": True,
        "oot_average_precision": True,
        "calibration": True,
    }
    assert told.severity["oot_window_untouched"] == told.severity["label_maturity"] == "ERROR"
    assert told.severity["oot_average_precision"] == told.severity["calibration"] == "WARN"
    noted = told.facts["oot_window_untouched"]
    assert noted["last_event"] < noted["last_label"] < noted["oot_start"]
    facts = told.partitions[None]
    assert facts["data_version"] == facts["model_version"] == trained.champion()
    assert facts["average_precision_low"] < facts["average_precision"]
    assert facts["verdict"] == "first"
    assert facts["hyper_parameters"]["epochs"] == 4
    assert {row["name"] for row in facts["sample"]} == {"small", "line"}
    for uri in facts["plots"].values():
        assert Path(uri).read_bytes().startswith(b"\x89PNG")


def test_a_training_tells_how_each_candidate_ended_and_who_leads(trained: Place) -> None:
    lines = (trained.root / "said.txt").read_text().splitlines()
    told = [line.partition("=> ")[2] for line in lines if "=> " in line]
    ends = [line for line in told if "average precision 0." in line and "trained in" in line]
    assert sorted(line.split()[0] for line in ends) == ["line", "small"]
    assert any("is the best of" in line for line in told)
    assert any(line.startswith("The first champion") for line in told)


def test_scores_and_metrics_are_reported_partition_by_partition(copy: Place) -> None:
    ended = copy.run(*LATEST, "--launch-id", "latest", flow=SCORING)
    assert ended.code == 0, ended.output
    reports = copy.reports("ScoringFlow", "latest")
    assert list(reports) == ["ml_outputs", "metrics"]
    scores, metrics = reports.values()
    assert set(scores.passed) == {"every_claim_scored", "no_duplicate_claims", "alert_budget"}
    assert scores.passed["every_claim_scored"]
    assert scores.passed["no_duplicate_claims"]
    assert scores.severity["alert_budget"] == "WARN"
    assert set(metrics.passed) == {"drift", "label_maturity", "performance"}
    assert list(scores.partitions) == list(metrics.partitions) == ["2024-10", "2024-11", "2024-12"]
    assert metrics.facts["drift"]["newest_partition"] == "2024-12"
    for facts in scores.partitions.values():
        assert facts["model_version"] == copy.champion()
        assert facts["rows"] == facts["claims"] > facts["alerts"]
        assert {row["claim_id"] for row in facts["sample"]} == {"***"}


def test_one_asset_alone_is_published_alone(copy: Place) -> None:
    only_scores = copy.run(*LATEST, "--assets", "ml_outputs", "--launch-id", "scores", flow=SCORING)
    assert only_scores.code == 0, only_scores.output
    assert list(copy.reports("ScoringFlow", "scores")) == ["ml_outputs"]
    assert not (copy.root / "metrics").exists()

    scored = copy.versions()
    only_metrics = copy.run(*LATEST, "--assets", "metrics", "--launch-id", "m", flow=SCORING)
    assert only_metrics.code == 0, only_metrics.output
    assert list(copy.reports("ScoringFlow", "m")) == ["metrics"]
    assert {k: v for k, v in copy.versions().items() if "metrics" not in k} == scored


def test_metrics_of_what_was_never_scored_are_refused(copy: Place) -> None:
    ended = copy.run(*LATEST, "--assets", "metrics", flow=SCORING)
    assert ended.code != 0
    assert "no scores to measure, 2024-10 the first of them" in ended.output
    assert "Traceback" not in ended.output


def test_metrics_hold_scores_against_the_model_that_made_them(copy: Place) -> None:
    """A new champion leaves what an older one has decided as it was decided."""
    first = copy.champion()
    assert copy.run(*LATEST, "--assets", "ml_outputs", flow=SCORING).code == 0
    lazy = "- {name: lazy, family: logistic, params: {epochs: 1, learning_rate: 1.0e-6}}\n"
    held = copy.run("--seed", "7", "--launch-id", "held", candidates=lazy, flow=TRAINING)
    assert held.code == 0, held.output
    told = copy.reports("TrainingFlow", "held")["model_artifact"].partitions[None]
    assert told["data_version"] == first != told["model_version"]
    models = str(copy.root / "models")
    challenger = read_pointer(models, DATASET, "challenger")
    assert challenger is not None
    promote(models, DATASET, challenger.version, expected=first, by="a person", reason="a trial")
    ended = copy.run(*LATEST, "--assets", "metrics", "--launch-id", "m", flow=SCORING)
    assert ended.code == 0, ended.output
    measured = copy.reports("ScoringFlow", "m")["metrics"].partitions
    assert {facts["model_version"] for facts in measured.values()} == {first}


def test_partitions_that_taught_the_model_are_told_apart(copy: Place) -> None:
    range_ = ("--partition-start", "2023-05", "--partition-end", "2023-06")
    assert copy.run(*range_, flow=SCORING).code == 0
    metrics = copy.lake.read(copy.lake.partitions("metrics", DATASET)).to_pandas()
    assert "partition" not in set(metrics["window"])
    assert "in_sample" in set(metrics["window"])


def test_scoring_without_a_champion_says_how_to_get_one(place: Place) -> None:
    assert place.run(*CLAIMS, "--partition-start", "2024-01", flow=INGEST).code == 0
    ended = place.run(flow=SCORING)
    assert ended.code != 0
    assert "has no champion" in ended.output
    assert "python flows/training_flow.py run --dataset synthetic_claims" in ended.output
    assert "Traceback" not in ended.output


def test_training_without_claims_says_how_to_get_some(place: Place) -> None:
    ended = place.run(flow=TRAINING)
    assert ended.code != 0
    assert "python flows/ingest_flow.py run --dataset synthetic_claims" in ended.output
    assert "Traceback" not in ended.output


def test_an_asset_that_a_flow_does_not_publish_is_refused(copy: Place) -> None:
    ended = copy.run("--assets", "raw_zone", flow=SCORING)
    assert ended.code != 0
    assert "this flow publishes ml_outputs, metrics" in ended.output


def test_a_training_that_is_killed_resumes_to_the_same_champion(
    trained: Place, copy: Place
) -> None:
    shutil.rmtree(copy.root / "models")
    options = copy.options(TRAINING)
    process = copy.start("run", *options, "--seed", "7", flow=TRAINING)
    killed = kill_when(process, lambda line: "/train/" in line and "Task is starting" in line)
    assert not (copy.root / "models").exists()
    resumed = copy.flow("resume", "--origin-run-id", killed.run_id, flow=TRAINING)
    assert resumed.code == 0, resumed.output
    assert not {"start", "prepare"} & set(steps(resumed)), "finished steps are not run again"
    assert copy.champion() == trained.champion()


def test_a_scoring_that_is_killed_resumes_to_the_same_scores(
    copy: Place, finished: tuple[Place, Ended]
) -> None:
    process = copy.start("run", *copy.options(SCORING), "--seed", "7", flow=SCORING)
    killed = kill_when(process, lambda line: "/score/" in line and "Task is starting" in line)
    resumed = copy.flow("resume", "--origin-run-id", killed.run_id, flow=SCORING)
    assert resumed.code == 0, resumed.output
    assert not {"start", "prepare"} & set(steps(resumed)), "finished steps are not run again"
    assert copy.versions() == finished[0].versions()
    again = copy.run("--seed", "7", flow=SCORING)
    assert again.code == 0, again.output
    assert copy.versions() == finished[0].versions(), "scoring twice changes nothing"

"""Scores by Spark are those of this machine; a worker that dies costs an attempt, nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from pyspark import SparkStageInfo  # noqa: TID253 - the tests are of it
from pyspark.sql import SparkSession  # noqa: TID253 - the tests are of it
from spark_kit import AS_OF, assert_same, contract, rows, silent, written

from fraud_mlops.errors import FraudMlopsError, LakehouseError
from fraud_mlops.features import build as local
from fraud_mlops.features.build import FeatureSet, read_window
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.pipeline.training import fit, training_claims
from fraud_mlops.spark import features as on_spark
from fraud_mlops.spark.delivery import PIECES, deliver, encoded
from fraud_mlops.spark.session import spark_session

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    root = str(tmp_path_factory.mktemp("scored"))
    return plan_run("synthetic_claims", run="Test/1", output_uri=root, sample_size=3000)


@pytest.fixture(scope="module")
def features(plan: RunPlan) -> FeatureSet:
    """In parts, by Spark, from the flow's own step."""
    return prepare(plan.model_copy(update={"engine": "spark"}), ingest(plan))


@pytest.fixture(scope="module")
def leader(features: FeatureSet) -> Leader:
    """A light model that alerts some."""
    quick = Candidate(name="line", params=LogisticParams(epochs=1))
    model, _ = fit(quick, training_claims(features), features, 1, silent)
    logits = sorted(model.logits(read_window(features, "oot")))
    # Between two claims: at one of them the last bit of its logit would decide.
    model = model.decided(None, float(logits[-21] + logits[-20]) / 2)
    model = FraudModel.from_files(model.to_files())
    end = features.split.validation.end
    return Leader(model, "v1", end, features.split, None, None, None)


def test_every_partition_is_the_one_that_this_machine_writes(
    plan: RunPlan, features: FeatureSet, leader: Leader
) -> None:
    """Scores to the rounding of float32 sums (threads and memory move it); the rest exactly."""
    lake = Lakehouse(plan.output_uri)
    mine = score(plan.model_copy(update={"engine": "local"}), features, leader)
    told, here = [said(lake, p) for p in mine], lake.read(mine)
    theirs = score(plan.model_copy(update={"engine": "spark"}), features, leader)
    there = lake.read(theirs)
    assert [(p.uri, p.rows) for p in theirs] == [(p.uri, p.rows) for p in mine]
    assert [said(lake, p) for p in theirs] == told
    for name in ("claim_id", "event_time", "alert", "reasons", "model_version"):
        assert there.column(name).to_pylist() == here.column(name).to_pylist()
    for name in ("score", "probability"):
        np.testing.assert_allclose(there[name], here[name], rtol=1e-6, atol=1e-6)
    for partition in theirs:
        lake.verify(partition)
    alerts = there.filter(there.column("alert"))
    assert alerts.num_rows >= 20
    assert all(alerts.column("reasons").to_pylist())


def said(lake: Lakehouse, partition: Partition) -> dict[str, str]:
    """What the writer says of the partition, but for its version."""
    return {k: v for k, v in lake.metadata(partition).items() if k != "data_version"}


def test_features_that_the_model_needs_and_the_contract_dropped_are_told(
    plan: RunPlan, features: FeatureSet, leader: Leader
) -> None:
    fewer = features.model_copy(update={"numeric": features.numeric[1:]})
    with pytest.raises(FraudMlopsError, match="needs features that the contract no longer has"):
        score(plan.model_copy(update={"engine": "spark"}), fewer, leader)


def test_a_killed_worker_is_started_again_and_the_partition_is_whole(
    tmp_path: Path, spark: SparkSession
) -> None:
    made = contract()
    raw = written(tmp_path, made, rows(600, seed=3))
    lake, common = Lakehouse(str(tmp_path)), {"as_of": AS_OF, "progress": silent}
    failed, done = threading.Event(), threading.Event()

    def kill_one_at_work() -> None:
        """Kills workers until Spark has seen a task of it fail."""
        while not done.wait(0.02) and not failed.is_set():
            if any(stage.numActiveTasks for stage in stages(spark)):
                for pid in list(workers())[:1]:
                    os.kill(pid, signal.SIGKILL)
                done.wait(0.3)
            if any(stage.numFailedTasks for stage in stages(spark)):
                failed.set()

    killer = threading.Thread(target=kill_one_at_work)
    killer.start()
    try:
        one = on_spark.build_features(made, lake, raw, launch_id="spark", **common)
    finally:
        done.set()
        killer.join()
    assert failed.is_set()
    assert_same(one, local.build_features(made, lake, raw, launch_id="local", **common))


def stages(spark: SparkSession) -> list[SparkStageInfo]:
    tracker = spark.sparkContext.statusTracker()
    found = (tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds())
    return [stage for stage in found if stage is not None]


def workers() -> set[int]:
    """Python processes that Spark's daemon has forked for tasks."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = process.parent()
            if parent is not None and "pyspark.daemon" in parent.cmdline():
                found.add(process.pid)
    return found


def test_an_object_that_did_not_come_whole_is_not_published(
    tmp_path: Path, spark: SparkSession
) -> None:
    def pieces_without(missing: int):
        def run(_batches):
            import pyarrow as pa

            batch = pa.record_batch({"x": pa.array(range(100_000))})
            for place, piece in enumerate(encoded("one", [batch], batch.schema, {})):
                if place != missing:
                    yield piece

        with spark_session():
            return spark.range(1).repartition(1).mapInArrow(run, PIECES)

    scratch, target = str(tmp_path / "scratch"), str(tmp_path / "one.parquet")
    for missing in (0, 1):
        with pytest.raises(LakehouseError, match="run again"):
            deliver(pieces_without(missing), scratch, lambda _: target)
        assert not (tmp_path / "one.parquet").exists()
    facts = deliver(pieces_without(-1), scratch, lambda _: target)["one"]
    assert facts.rows == 100_000
    assert (tmp_path / "one.parquet").stat().st_size == facts.bytes
    assert not (tmp_path / "scratch").exists()

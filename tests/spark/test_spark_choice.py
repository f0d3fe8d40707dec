"""Which engine a run takes, what is missing for Spark, and a whole flow on it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fraud_mlops.errors import SettingsError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.ingesting import prepare
from fraud_mlops.pipeline.leading import pinned_champion
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.ranges import pin_raw
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.settings import settings
from fraud_mlops.spark.choice import on_spark
from fraud_mlops.spark.session import code_archive, require_java

ROOT = Path(__file__).parents[2]
LIGHT = "- {name: line, family: logistic, seed: 2, params: {epochs: 3}}\n"


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FRAUD_SPARK_ROWS", "1000")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.usefixtures("few_rows")
def test_auto_is_by_size_and_a_named_engine_by_name() -> None:
    assert not on_spark("auto", 999)
    assert on_spark("auto", 1000)
    assert not on_spark("local", 1000)
    assert on_spark("spark", 1)


def test_an_engine_that_there_is_not_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--engine flink: choose one of auto, local, spark"):
        plan_run("synthetic_claims", run="T/1", output_uri=str(tmp_path), engine="flink")


def test_without_java_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="apt-get install default-jre-headless"):
        require_java()
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    with pytest.raises(SettingsError, match="is version 11"):
        require_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="There is none in JAVA_HOME"):
        require_java()


def test_without_pyspark_it_says_what_to_install_and_auto_stays_here() -> None:
    script = (
        "import sys; sys.modules['pyspark'] = None\n"
        "import importlib.util as u; u.find_spec = lambda name: None\n"
        "from fraud_mlops.spark.choice import on_spark\n"
        "from fraud_mlops.spark.session import spark_session\n"
        "assert not on_spark('auto', 10**9)\n"
        "try:\n"
        "    spark_session().__enter__()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "note: 1,000,000,000 claims would go to Spark" in done.stdout
    assert "SettingsError the Spark engine needs PySpark: pip install" in done.stdout


def test_the_archive_for_tasks_has_the_library_and_is_named_for_it(tmp_path: Path) -> None:
    made = code_archive(tmp_path)
    assert made.name == code_archive(tmp_path).name
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import fraud_mlops.spark.stitching as s; print(s.__file__)"
    )
    alone = subprocess.run(
        [sys.executable, "-c", script, str(made)], capture_output=True, text=True
    )
    assert str(made) in alone.stdout, alone.stderr
    with zipfile.ZipFile(made) as archive:
        assert all(name.endswith(".py") for name in archive.namelist())


@pytest.mark.flow
def test_a_whole_flow_on_spark_leaves_the_scores_that_this_machine_gives(tmp_path: Path) -> None:
    (tmp_path / "light.yaml").write_text(LIGHT)
    given = ("--sample-size", "3000", "--seed", "7", "--candidates-file", "light.yaml")
    root = str(tmp_path / "lake")
    done = subprocess.run(
        [sys.executable, str(ROOT / "flows" / "fraud_detection_flow.py"), "run", *given,
         "--engine", "spark", "--output-uri", root],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
        env=os.environ | {
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path / "metaflow"),
            "METAFLOW_HOME": str(tmp_path / "home"),
            "FRAUD_SPARK_MASTER": "local[2,4]", "FRAUD_MEMORY_LIMIT": "1GB",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3,000 claims, on Spark" in done.stdout
    assert "claims on Spark" in done.stdout.partition("scoring ")[2]
    lake = Lakehouse(root)
    there = lake.partitions("ml_outputs", "synthetic_claims")
    plan = plan_run(
        "synthetic_claims", run="Here/1", output_uri=root, candidates=None, engine="local"
    )
    raw = pin_raw(plan)
    scored = lake.read(there)
    here = lake.read(score(plan, prepare(plan, raw), pinned_champion(plan)))
    for name in ("score", "probability"):
        np.testing.assert_allclose(here[name], scored[name], rtol=1e-6, atol=1e-6)
    exact = ["claim_id", "event_time", "model_version"]
    assert here.select(exact).equals(scored.select(exact))

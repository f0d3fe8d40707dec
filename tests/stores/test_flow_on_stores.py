"""A whole flow, claims to champion, with everything it leaves on S3.

The same on ADLS: test_adls_over_tls.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_servers import CONTAINER

from dagster_metaflow.reports import read_reports
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import list_files
from fraud_mlops.maintenance.partitions import ZONES, verify
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.registry.pointers import read_pointer

FLOW = Path(__file__).parents[2] / "flows" / "fraud_detection_flow.py"
CANDIDATE = "- {name: line, family: logistic, seed: 2, params: {epochs: 4}}\n"
DATASET = "synthetic_claims"


@pytest.mark.flow
@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_a_flow_leaves_everything_on_the_store(root: str, tmp_path: Path) -> None:
    (tmp_path / "candidates.yaml").write_text(CANDIDATE)
    datastore = {
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://{CONTAINER}/metaflow",
        "METAFLOW_S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
    }
    run = subprocess.run(
        [sys.executable, str(FLOW), "run", "--sample-size", "3000", "--seed", "7",
         "--candidates-file", str(tmp_path / "candidates.yaml"), "--launch-id", "one"],
        cwd=tmp_path,
        env=os.environ | datastore | {"LAKEHOUSE_URI": root, "METAFLOW_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr

    lake = Lakehouse(root)
    for zone in ZONES:
        verdicts = list(verify(lake, zone, DATASET))
        assert len(verdicts) > 5
        assert [verdict.wrong for verdict in verdicts if verdict.wrong] == []
    champion = read_pointer(f"{root}/models", DATASET, "champion")
    assert champion is not None
    load_bundle(f"{root}/models", DATASET, champion.version)
    reports = read_reports(root, "FraudDetectionFlow", "one")
    assert {r.asset_key[-1] for r in reports} == {"raw_zone", "model_artifact", "ml_outputs",
                                                  "metrics"}  # fmt: skip
    assert not (tmp_path / "lakehouse").exists()
    assert any(name.endswith(".html") for name, *_ in list_files(f"s3://{CONTAINER}/metaflow"))

"""How long Metaflow's client waits for an S3 that is gone, in a flow and in the shell of a job."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aws_image import image_variables

ROOT = Path(__file__).parents[2]
ASKS = """
import time
waited = []
time.sleep = waited.append  # it is added up, and nobody waits
from metaflow.plugins.datatools.s3 import S3
try:
    with S3(s3root="s3://bucket/folder") as s3:
        s3.put("key", "value")
except Exception as error:
    print(error)
print("waited:", sum(waited))
"""
NOBODY = {
    "METAFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "AKIDTEST",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.mark.parametrize("what", ["a flow", "the shell of a job"])
def test_a_request_to_a_store_that_is_gone_ends_in_minutes_with_words(
    tmp_path: Path, what: str
) -> None:
    begins, variables = ("import flow_environment", {}) if what == "a flow" else ("", image())
    done = subprocess.run(
        [sys.executable, "-c", begins + ASKS],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "flows"), "HOME": str(tmp_path), **NOBODY, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert "Could not connect to the endpoint URL" in done.stdout
    (minutes,) = re.findall(
        r"refuses connections for (\d+) minutes", (ROOT / "docs" / "aws.md").read_text()
    )
    assert float(done.stdout.rpartition("waited:")[2]) < 60 * int(minutes)


def image() -> dict[str, str]:
    return {"METAFLOW_USER": "me", **image_variables()}


def test_whoever_says_otherwise_is_heard() -> None:
    code = "import flow_environment, metaflow.metaflow_config as c; print(c.S3_RETRY_COUNT)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "flows",
        env={"METAFLOW_S3_RETRY_COUNT": "2"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["2"]


def test_flows_and_image_say_the_same() -> None:
    told = "print({k: v for k, v in os.environ.items() if k.startswith('METAFLOW_S3')})"
    done = subprocess.run(
        [sys.executable, "-c", f"import os, flow_environment; {told}"],
        cwd=ROOT / "flows",
        env={},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    of_image = {k: v for k, v in image_variables().items() if k.startswith("METAFLOW_S3")}
    assert ast.literal_eval(done.stdout) == of_image

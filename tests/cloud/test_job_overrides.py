"""What a job's command and environment take of the characters that AWS Batch gives them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aws import LocalAws
from cloud_kit import undeploy

from dagster_metaflow.backends.sfn_input import MOST_OVERRIDES, sizes_of_jobs
from dagster_metaflow.backends.sfn_mark import mark_option

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text()
FLOW = ROOT / "flows" / "fraud_detection_flow.py"
GIVEN = json.dumps({"Parameters": "{}"})
ABOUT = 150
"""Characters by which names of an account make the figures others."""


def start_takes(aws: LocalAws, folder: Path, *options: str) -> int:
    """Without any parameter, of the flow that has the most of them."""
    (folder / ".metaflow").mkdir(exist_ok=True)  # else Metaflow looks for one in the folders above
    command = [sys.executable, FLOW, "--quiet", "--datastore=s3", "step-functions", "create"]
    command += ["--only-json", mark_option("0" * 16), *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**aws.environment, "PATH": "/usr/bin:/bin", "HOME": str(folder), "USER": "me"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    definition = done.stdout[done.stdout.index("{") :]
    return dict(sizes_of_jobs(definition, GIVEN, "e" * 80))["start"]


@pytest.mark.flow
def test_the_page_says_what_is_left_for_parameters(aws: LocalAws, tmp_path: Path) -> None:
    takes, leaves = (
        int(number.replace(",", ""))
        for number in re.findall(r"`start` take ([\d,]+), which leaves some ([\d,]+)", PAGE)[0]
    )
    (small, plain) = re.findall(r"commands to S3: ([\d,]+) instead of ([\d,]+)", PAGE)[0]
    undeploy(aws, "FraudDetectionFlow")
    found = start_takes(aws, tmp_path)
    compressed = start_takes(aws, tmp_path, "--compress-state-machine")
    print(f"start takes {found:,} of {MOST_OVERRIDES:,}, compressed {compressed:,}")
    assert abs(found - takes) < ABOUT
    assert abs(MOST_OVERRIDES - found - leaves) < ABOUT
    assert abs(found - int(plain.replace(",", ""))) < ABOUT
    assert abs(compressed - int(small.replace(",", ""))) < ABOUT

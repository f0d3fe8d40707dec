"""Cards of a run of which this machine has no record are found in the datastore."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aws import LocalAws

from dagster_metaflow import export_cards

FLOW = Path(__file__).parent / "toy" / "card_flow.py"


@pytest.mark.flow
def test_a_card_is_exported(aws: LocalAws, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):  # each with records of its own: Metaflow looks above for them too
        (folder / ".metaflow").mkdir(parents=True)
    environment = {**os.environ, **aws.environment, "METAFLOW_USER": "toy"}
    command = [sys.executable, FLOW, "run", f"--run-id-file={tmp_path / 'id'}"]
    subprocess.run(command, cwd=there, env=environment, check=True, capture_output=True)
    task = f"CardFlow/{(tmp_path / 'id').read_text()}/start/1"
    program = [sys.executable, "-P", export_cards.__file__, task, here, FLOW, "words"]
    done = subprocess.run(program, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == ["words"]
    assert (here / found["words"]).read_text().startswith("<!DOCTYPE html>")

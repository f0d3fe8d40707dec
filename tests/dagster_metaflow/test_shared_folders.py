"""A ledger in a folder that all machines have mounted: what lies outside of it is brought there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_metaflow.backends.protocol import LaunchRequest, UsageError
from dagster_metaflow.backends.travelling import refuse_folder, travelled


def request(folder: Path, *inputs: Path) -> LaunchRequest:
    return LaunchRequest(
        launch_id="one",
        flow_file=folder / "flow.py",
        flow_name="Flow",
        parameters={f"file{i}": str(path) for i, path in enumerate(inputs)} | {"seed": 3},
        tags=(),
        folder=folder,
        inputs=inputs,
        ledger_root=str(folder / "efs" / "lake"),
    )


def test_an_input_of_this_machine_alone_is_brought_and_a_shared_one_stays(tmp_path: Path) -> None:
    own, shared = tmp_path / "claims.yaml", tmp_path / "efs" / "candidates.yaml"
    shared.parent.mkdir()
    own.write_text("name: own")
    shared.write_text("[]")
    known = {"SHARED_FOLDERS": f"/elsewhere:{tmp_path / 'efs'}"}
    sent = travelled(request(tmp_path, own, shared), known)
    brought = Path(sent.parameters["file0"])
    assert brought.is_relative_to(tmp_path / "efs" / "lake")
    assert brought.read_text() == "name: own"
    assert sent.parameters["file1"] == str(shared)
    assert sent.parameters["seed"] == 3


def test_a_folder_of_this_machine_alone_is_no_ledger_of_tasks_elsewhere(tmp_path: Path) -> None:
    asked = request(tmp_path)
    refuse_folder(asked, {"SHARED_FOLDERS": str(tmp_path / "efs")})
    for others in ({}, {"SHARED_FOLDERS": f"{tmp_path / 'efs' / 'other'}:/elsewhere"}):
        with pytest.raises(UsageError, match="not in one of SHARED_FOLDERS"):
            refuse_folder(asked, others)

"""What a run leaves lies where it outlives the driver: folders of its disk are refused here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from databricks_kit import ShellRuns

from dagster_metaflow.backends.databricks_driver import main
from dagster_metaflow.backends.databricks_refused import refuse_folders
from dagster_metaflow.backends.protocol import UsageError

Script = Callable[..., tuple[int, str]]
ELSEWHERE = {"SHARED_FOLDERS": ""}
LAKE = "abfss://lake@account.dfs.core.windows.net/fraud"
REFUSED = "a folder, which would go with the driver"


@pytest.fixture
def elsewhere(run: Script, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The script, for a workspace whose drivers share no folder with this machine."""
    for name, value in {**ELSEWHERE, "LAKEHOUSE_URI": LAKE}.items():
        monkeypatch.setenv(name, value)
    return run


@pytest.mark.parametrize(
    "what", [("--flow", "flows/shell_flow.py"), ("--existing-job", "shell")], ids=["new", "job"]
)
@pytest.mark.parametrize("by", ["variable", "option"])
def test_a_registry_that_is_a_folder_is_refused_before_the_start(
    elsewhere: Script, monkeypatch: pytest.MonkeyPatch, what: tuple[str, ...], by: str
) -> None:
    if by == "variable":
        monkeypatch.setenv("FRAUD_MODEL_URI", "models")
        code, told = elsewhere(*what)
    else:
        code, told = elsewhere(*what, "--model-uri", "models")
    assert (code, f"--model-uri models: {REFUSED}" in told) == (2, True), told


def test_dagster_s_registry_too(stage: ShellRuns, tmp_path: Path) -> None:
    stage.variables |= ELSEWHERE
    request = dataclasses.replace(stage.request(model_uri=str(tmp_path)), ledger_root=LAKE)
    backend = stage.backend()
    with pytest.raises(UsageError, match=f"--model_uri {tmp_path}: {REFUSED}"):
        backend.launch(request, backend.prepare(request))


@pytest.mark.parametrize("given", ["s3", "azure"])
def test_metaflow_keeps_its_records_in_the_store_whatever_a_shell_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    given: str,
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    names = ["METAFLOW_DEFAULT_DATASTORE", "METAFLOW_DATASTORE_SYSROOT_LOCAL"]
    flow = f"import os\nprint(*[os.environ[name] for name in {names}])\n"
    (tmp_path / "a_flow.py").write_text(flow)
    told = ["--flow=a_flow.py", f"--store={tmp_path}/lake", "--token=one"]
    main([*told, f"--variable={names[0]}={given}"], tmp_path)
    assert capfd.readouterr().out == f"local {tmp_path}/lake/_metaflow\n"


def test_a_volume_and_a_store_are_no_such_folders(stage: ShellRuns) -> None:
    given = ["--a-uri=/Volumes/main/lake", f"--b-uri={LAKE}", "--file=/tmp/x", "--c-uri="]
    refuse_folders(given, ELSEWHERE)

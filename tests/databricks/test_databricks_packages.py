"""A run has the packages that it names, and no others: in a clean environment, really installed.
The commit that names them, and the flow, is fetched where the checkout lacks it.

Few, small ones: the whole flow is run with all of its own in test_fraud_flow_on_databricks.
"""

from __future__ import annotations

import dataclasses
import gc
import socket
import tempfile
from pathlib import Path

import pytest
from databricks_kit import Repository, ShellRuns

from dagster_metaflow.backends import databricks_git
from dagster_metaflow.backends.databricks_git import Source, require_files, text_at
from dagster_metaflow.backends.protocol import LaunchError, RunState, UsageError

FLOW = """
import fsspec, pydantic
print("has pydantic", pydantic.VERSION, flush=True)
import s3fs
"""


def test_what_requirements_do_not_name_cannot_be_imported(
    stage: ShellRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.workspace.machine, "builds", True)
    flow = stage.repository.root / "flows" / "imports_flow.py"
    flow.write_text(FLOW)
    stage.repository.commit("a flow that needs more than it says")
    backend = stage.backend(dependencies=["fsspec"])
    request = dataclasses.replace(stage.request(), flow_file=flow)
    handle = backend.launch(request, backend.prepare(request))
    status = stage.ended(handle, dependencies=["fsspec"])
    assert status.state is RunState.FAILED
    assert any(line.startswith("has pydantic 2.") for line in stage.log(handle))
    assert "No module named 's3fs'" in str(status.reason)


def test_a_package_that_the_index_does_not_have_ends_the_run(
    stage: ShellRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.workspace.machine, "builds", True)
    status = stage.ended(stage.launched(dependencies=["pydantic==0.0.0.dev999"]))
    assert status.state is RunState.FAILED
    assert "Library installation failed" in str(status.reason)


def test_a_flow_that_is_not_in_the_commit_starts_nothing_where_the_checkout_lacks_it_too(
    stage: ShellRuns, tmp_path: Path
) -> None:
    origin, here = stage.repository, Repository(tmp_path / "here")
    origin.git("clone", "-q", str(origin.root), str(here.root))
    (origin.root / "note").write_text(stage.launch_id)
    commit = origin.commit("somebody else's")
    flow = here.root / "flows" / "unpushed_flow.py"
    flow.write_text("print('new')")
    request = dataclasses.replace(stage.request(), flow_file=flow)
    backend = stage.backend(repository=str(here.root), git_url=origin.root.as_uri())
    with pytest.raises(UsageError, match=f"flows/unpushed_flow.py: not in commit {commit}"):
        backend.launch(request, backend.prepare(request))
    assert not stage.workspace.calls["jobs/runs/submit"]


def test_a_commit_is_fetched_once_and_leaves_nothing_behind(
    stage: ShellRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    origin = Repository(tmp_path / "origin")
    stage.repository.git("clone", "-q", "--bare", str(stage.repository.root), str(origin.root))
    source = Source(origin.root.as_uri(), "gitHub", None, origin.head())
    require_files(tmp_path, source, ["requirements.txt"])
    origin.root.rename(tmp_path / "gone")
    assert "pydantic" in text_at(tmp_path, source, "requirements.txt")
    databricks_git._fetched.cache_clear()
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["gone"]


def test_a_fetch_that_takes_too_long_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that takes the call and says nothing. The limit is the fetch's own."""
    monkeypatch.setattr(databricks_git, "_FETCH_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/mine"
        with pytest.raises(LaunchError, match=r"was not fetched within 0\.5 s") as told:
            text_at(tmp_path, Source(url, "gitHub", None, "0" * 40), "requirements.txt")
    assert "pushed" not in str(told.value)

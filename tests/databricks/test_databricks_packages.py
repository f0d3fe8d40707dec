"""A run has the packages that it names, and no others: in a clean environment, really installed.

Few, small ones: the whole flow (test_fraud_flow_on_databricks) would install PyTorch for minutes,
and goes with the tests' own packages, whose versions are compared with what it names.
"""

from __future__ import annotations

import dataclasses

import pytest
from databricks_kit import ShellRuns

from dagster_metaflow.backends.protocol import RunState

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

"""One workspace on loopback for all tests here, and a Git repository that it clones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from databricks_kit import Repository, ShellRuns, driver_python
from workspace_server import LocalWorkspace, local_workspace

sys.path.append(str(Path(__file__).parents[1] / "security"))
pytest.register_assert_rewrite("dagster_metaflow.testing.contract")


@pytest.fixture(scope="session")
def one_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    folder = tmp_path_factory.mktemp("databricks")
    with local_workspace(folder, driver_python(folder / "python")) as workspace:
        yield workspace


@pytest.fixture
def workspace(one_workspace: LocalWorkspace) -> Iterator[LocalWorkspace]:
    """In which no call fails and none has been counted."""
    one_workspace.mend()
    yield one_workspace
    one_workspace.mend()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository.of_the_toys(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def stage(workspace: LocalWorkspace, repository: Repository, tmp_path: Path) -> ShellRuns:
    return ShellRuns(workspace, repository, tmp_path)

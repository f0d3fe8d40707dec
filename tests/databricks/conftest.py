"""One workspace on loopback for all tests here, and a Git repository that it clones."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databricks_kit import BUNDLE, ROOT, Repository, ShellRuns
from interpreters import with_packages_of_tests
from workspace_server import LocalWorkspace, local_workspace

from fraud_mlops.settings import settings

sys.path += [str(Path(__file__).parents[1] / "security"), str(ROOT / "scripts")]
pytest.register_assert_rewrite("dagster_metaflow.testing.contract")


@pytest.fixture(scope="session")
def one_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    folder = tmp_path_factory.mktemp("databricks")
    with local_workspace(folder, with_packages_of_tests(folder / "python")) as workspace:
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


@pytest.fixture
def interrupted() -> Iterator[None]:
    """As a shell starts it: Ctrl-C is an interrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(
    stage: ShellRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """The script, in the toy's checkout: its exit code and what it prints."""
    import run_databricks_job as script

    for name, value in {**stage.environment(), "METAFLOW_USER": "me"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LAKEHOUSE_URI", str(stage.folder / "lake"))
    monkeypatch.setenv("BUNDLE_VAR_folder", str(stage.folder))
    monkeypatch.setattr(script, "ROOT", stage.repository.root)
    monkeypatch.setattr(script, "REQUIREMENTS", ["requirements.txt"])
    stage.workspace.jobs.jobs.clear()
    stage.workspace.machine.variables["SHELL_FOLDER"] = str(stage.folder)
    (stage.repository.root / "databricks.yml").write_text(BUNDLE)
    settings.cache_clear()

    def one(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        code = script.main()
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out + found.err

    yield one
    settings.cache_clear()

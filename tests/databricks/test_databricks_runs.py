"""What a run on Databricks is made of: code, secrets, packages; and how a failed one goes on."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from databricks_kit import Repository, ShellRuns

from dagster_metaflow.backends.databricks_git import PACKAGES_OF_HERE
from dagster_metaflow.backends.databricks_records import records_in
from dagster_metaflow.backends.databricks_settings import read
from dagster_metaflow.backends.protocol import Handle, LaunchError, RunState, UsageError


@pytest.mark.parametrize(
    ("named", "argv0"),
    [(True, None), (False, None), (True, "/databricks/python_shell/launcher.py"), (True, "")],
)
def test_the_entry_finds_its_checkout_however_the_file_is_executed(
    stage: ShellRuns, named: bool, argv0: str | None
) -> None:
    stage.workspace.machine.named, stage.workspace.machine.argv0 = named, argv0
    handle = stage.launched()
    assert stage.ended(handle).state is RunState.SUCCEEDED, stage.log(handle)


def test_what_ran_is_known_by_its_commit(stage: ShellRuns) -> None:
    handle = stage.launched()
    commit = stage.repository.head()
    assert f"at commit {commit} (branch main)" in stage.log(handle)[0]
    stage.ended(handle)
    assert stage.workspace.jobs.runs[handle["run"]].commit == commit


def test_parameters_and_tags_reach_the_flow(stage: ShellRuns) -> None:
    stage.ended(stage.launched(max_workers=3))
    given = json.loads((stage.folder / "arguments").read_text())
    assert given == ["--tag=contract", "--max-workers=3", "--size=3"]


def test_a_failed_run_is_repaired_in_the_same_run(stage: ShellRuns) -> None:
    stage.fail_once()
    handle = stage.launched()
    failed = stage.ended(handle)
    assert "ValueError: it breaks" in str(failed.reason)
    again = stage.resumed(failed.run_id)
    assert again["run"] == handle["run"]
    done = stage.ended(again)
    assert (done.state, stage.executed()) == (RunState.SUCCEEDED, ["start", "work", "work", "end"])
    lines = stage.log(again)  # of this attempt only
    assert lines[1] == f"Going on with run {failed.run_id}."
    assert not any("it breaks" in line for line in lines)


def test_a_run_is_repaired_as_often_as_it_takes(stage: ShellRuns) -> None:
    stage.fail_once()
    failed = stage.ended(stage.launched())
    for _ in range(2):
        stage.fail_once()
        failed = stage.ended(stage.resumed(failed.run_id))
        assert failed.state is RunState.FAILED
    assert stage.ended(stage.resumed(failed.run_id)).state is RunState.SUCCEEDED
    assert list(stage.executed()).count("start") == 1


def repaired_by_hand(stage: ShellRuns, handle: Handle) -> None:
    """On the run's page, when it has failed."""
    run = stage.workspace.jobs.runs[handle["run"]]
    deadline = time.monotonic() + stage.most_seconds
    while run.is_active:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stage.workspace.jobs.repair({"run_id": run.run_id})


def test_a_run_that_is_tried_again_on_databricks_is_followed_on(stage: ShellRuns) -> None:
    stage.fail_once()
    handle = stage.launched()
    repaired_by_hand(stage, handle)
    assert stage.ended(handle).state is RunState.SUCCEEDED
    log = "\n".join(stage.log(handle))
    assert log.index("it breaks") < log.index("Going on with run") < log.index("/end/1")


def test_a_run_that_somebody_has_repaired_is_taken_as_it_is(stage: ShellRuns) -> None:
    stage.fail_once()
    handle = stage.launched()
    failed = stage.ended(handle)
    repaired_by_hand(stage, handle)
    again = stage.resumed(failed.run_id)
    assert stage.ended(again).state is RunState.SUCCEEDED
    assert len(stage.workspace.jobs.runs[handle["run"]].tries) == 2


def test_where_a_repair_is_refused_a_new_run_goes_on(stage: ShellRuns) -> None:
    stage.workspace.jobs.repairs_submitted = False
    stage.fail_once()
    handle = stage.launched()
    again = stage.resumed(stage.ended(handle).run_id)
    assert again["run"] != handle["run"]
    assert stage.ended(again).state is RunState.SUCCEEDED
    assert list(stage.executed()).count("start") == 1
    assert "does not repair it (One-time runs cannot be repaired)" in "\n".join(stage.log(again))


def test_mended_code_is_run_by_a_new_run(stage: ShellRuns) -> None:
    stage.fail_once()
    handle = stage.launched()
    failed = stage.ended(handle)
    (stage.repository.root / "note").write_text(stage.launch_id)
    commit = stage.repository.commit("mended")
    again = stage.resumed(failed.run_id)
    assert stage.ended(again).state is RunState.SUCCEEDED
    assert stage.workspace.jobs.runs[again["run"]].commit == commit
    assert "since other code is to run than ran" in "\n".join(stage.log(again))


def test_a_start_whose_answer_was_lost_is_found_by_its_name(stage: ShellRuns) -> None:
    backend = stage.backend()
    prepared = backend.prepare(stage.request())
    backend.launch(stage.request(), prepared)
    prepared = {**prepared, "folder": str(stage.folder / "another-machine")}
    assert stage.ended(prepared).state is RunState.SUCCEEDED
    assert backend.links(prepared)["databricks_run"].startswith(stage.workspace.url)


def test_all_that_is_missing_is_told_at_once(
    stage: ShellRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    handle = stage.backend().prepare(stage.request())
    with pytest.raises(LaunchError) as told:
        stage.backend(environment={}, serverless=False).launch(stage.request(), handle)
    names = ("HOST", "TOKEN", "GIT_URL", "GIT_BRANCH", "CLUSTER_ID")
    assert all(f"DATABRICKS_{name}" in str(told.value) for name in names)
    assert "LAKEHOUSE_URI" in str(told.value)


def test_a_git_address_with_a_login_is_refused(stage: ShellRuns) -> None:
    with pytest.raises(LaunchError, match="has a login in it") as told:
        stage.launched(git_url="https://me:ghp_secret@github.com/me/mine")
    assert "ghp_secret" not in str(told.value)


def test_a_commit_is_given_whole(stage: ShellRuns) -> None:
    with pytest.raises(LaunchError, match="all 40 digits"):
        stage.launched(git_commit="abc123")


def test_more_parameters_than_a_run_takes_are_refused_before(stage: ShellRuns) -> None:
    backend = stage.backend()
    request = stage.request(text="x" * 10_000)
    with pytest.raises(LaunchError, match="10,000 bytes"):
        backend.launch(request, backend.prepare(request))


def test_dependencies_are_the_environments_or_a_clusters_libraries(stage: ShellRuns) -> None:
    stage.ended(stage.launched(dependencies=["--no-cache-dir"], serverless_environment_key="Mine"))
    body = json.loads(next(b for b in reversed(stage.workspace.bodies) if "run_name" in b))
    spec = {"environment_version": "4", "dependencies": ["--no-cache-dir", "pydantic>=2"]}
    assert body["environments"] == [{"environment_key": "Mine", "spec": spec}]
    assert "libraries" not in body["tasks"][0]
    stage.ended(stage.launched(serverless=False, cluster_id="0101-cluster"))
    body = json.loads(next(b for b in reversed(stage.workspace.bodies) if "run_name" in b))
    assert "environments" not in body
    assert body["tasks"][0]["libraries"] == [{"pypi": {"package": "pydantic>=2"}}]


def test_metaflows_records_lie_in_the_store_of_the_run() -> None:
    """By Metaflow's names, which its own configuration reads."""
    azure = {
        "METAFLOW_DEFAULT_DATASTORE": "azure",
        "METAFLOW_DATASTORE_SYSROOT_AZURE": "lake/fraud/_metaflow",
        "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": "https://account.blob.core.windows.net/",
    }
    host = "account.dfs.core.windows.net"
    for scheme in ("abfss", "abfs", "az"):
        assert records_in(f"{scheme}://lake@{host}/fraud", {}) == azure
        named = {"AZURE_STORAGE_ACCOUNT_NAME": "account"}
        assert records_in(f"{scheme}://lake/fraud", named) == azure
    for scheme in ("s3", "s3a"):
        assert records_in(f"{scheme}://lake/fraud", {}) == {
            "METAFLOW_DEFAULT_DATASTORE": "s3",
            "METAFLOW_DATASTORE_SYSROOT_S3": "s3://lake/fraud/_metaflow",
        }
    for here in ("/here", "file:///here"):
        assert records_in(here, {}) == {
            "METAFLOW_DEFAULT_DATASTORE": "local",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": "/here/_metaflow",
        }


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("abfss://lake/fraud", "names no storage account"),
        ("gs://lake/fraud", "keeps no records in a store gs://"),
    ],
)
def test_a_store_in_which_a_run_could_not_be_repaired_is_refused_before_it_starts(
    stage: ShellRuns, store: str, words: str
) -> None:
    environment = {**stage.environment(), "AZURE_STORAGE_ACCOUNT_NAME": ""}
    with pytest.raises(UsageError, match=words):
        read({}, environment, store)


@pytest.mark.parametrize("store", ["file:///here/lake", "/here/lake"])
def test_a_folder_is_a_store_only_where_drivers_have_it_mounted(
    stage: ShellRuns, store: str
) -> None:
    for shared in ("", "/hereabouts", "/here/lake/below"):
        with pytest.raises(UsageError, match=r"is a folder"):
            read({}, {**stage.environment(), "SHARED_FOLDERS": shared}, store)
    for shared in ("/here", "/mnt/efs:/here/lake"):
        read({}, {**stage.environment(), "SHARED_FOLDERS": shared}, store)


def test_whatever_the_sdk_signs_in_with_will_do(
    stage: ShellRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile in a file of one's own: no variable that is asked for is set."""
    token = stage.workspace.environment["DATABRICKS_TOKEN"]
    profile = f"[mine]\nhost = {stage.workspace.url}\ntoken = {token}\n"
    (tmp_path / "config").write_text(profile)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "config"))
    stage.variables |= {"DATABRICKS_HOST": "", "DATABRICKS_TOKEN": ""}
    stage.variables |= {"DATABRICKS_CONFIG_PROFILE": "mine"}
    read({}, stage.environment(), "s3://lake")
    stage.variables |= {"DATABRICKS_CONFIG_PROFILE": "other"}
    with pytest.raises(LaunchError, match="no other profile configured") as told:
        read({}, stage.environment(), "s3://lake")
    assert "missing" not in str(told.value)


def test_packages_are_those_of_the_commit_that_runs(stage: ShellRuns, tmp_path: Path) -> None:
    """Also where somebody else has pushed it, and this checkout has not fetched it."""
    origin = stage.repository
    here = Repository(tmp_path / "here")
    origin.git("clone", "-q", str(origin.root), str(here.root))
    (origin.root / "requirements.txt").write_text("pydantic>=2.1\n")
    commit = origin.commit("another pin")
    (here.root / "requirements.txt").write_text("of-nobody==1\n")
    settings = {"repository": str(here.root), "git_url": origin.root.as_uri()}
    request = dataclasses.replace(stage.request(), flow_file=here.root / "flows" / "shell_flow.py")
    backend = stage.backend(**settings)
    backend.launch(request, backend.prepare(request))
    origin.git("revert", "--no-edit", "HEAD")  # other tests have this repository too
    body = json.loads(next(b for b in reversed(stage.workspace.bodies) if "run_name" in b))
    assert body["git_source"]["git_commit"] == commit
    assert body["environments"][0]["spec"]["dependencies"] == ["pydantic>=2.1"]


def test_packages_that_are_not_known_for_sure_are_told_or_nothing_starts(
    stage: ShellRuns, tmp_path: Path
) -> None:
    unseen = {"git_url": (tmp_path / "none").as_uri(), "repository": str(stage.repository.root)}
    assert PACKAGES_OF_HERE in stage.log(stage.launched(**unseen))
    with pytest.raises(LaunchError, match=r"what is in commit 0{40} of .* is not known.*pushed"):
        stage.launched(**unseen, git_commit="0" * 40)


@pytest.mark.parametrize("pattern", ["ma*", "[m]ain", "mai?"])
def test_a_pattern_is_no_branch(stage: ShellRuns, pattern: str) -> None:
    with pytest.raises(UsageError, match="has no branch"):
        stage.launched(git_branch=pattern)
    assert not stage.workspace.calls["jobs/runs/submit"]


def test_a_branch_that_is_not_there_starts_nothing(stage: ShellRuns) -> None:
    with pytest.raises(UsageError, match="has no branch 'mian'"):
        stage.launched(git_branch="mian")
    assert not stage.workspace.calls["jobs/runs/submit"]


def test_a_flow_that_is_not_committed_starts_nothing(stage: ShellRuns) -> None:
    flow = stage.repository.root / "flows" / "new_flow.py"
    flow.write_text("print('new')")
    try:
        request = dataclasses.replace(stage.request(), flow_file=flow)
        backend = stage.backend()
        with pytest.raises(UsageError, match=r"flows/new_flow.py: not in commit .* push it"):
            backend.launch(request, backend.prepare(request))
    finally:
        flow.unlink()
    assert not stage.workspace.calls["jobs/runs/submit"]

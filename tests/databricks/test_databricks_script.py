"""scripts/run_databricks_job.py, as one types it, with flows that take no time."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from databricks_kit import BUNDLE, ROOT, ShellRuns, number_in
from pydantic import ValidationError

SCRIPT = ROOT / "scripts" / "run_databricks_job.py"
FLOW = ("--flow", "flows/shell_flow.py")


def test_it_follows_the_run_to_its_end(
    run: Callable[..., tuple[int, str]], stage: ShellRuns
) -> None:
    code, told = run(*FLOW, "--size", "3")
    assert code == 0, told
    assert f"{stage.workspace.url}/jobs/0/runs/{number_in(told)}" in told
    assert f"at commit {stage.repository.head()}" in told
    assert "/end/1" in told
    assert "Task finished successfully." in told
    assert told.rstrip().splitlines()[-2].endswith(": succeeded")
    given = (stage.folder / "arguments").read_text()
    assert given == f'["--size=3", "--output-uri={stage.folder / "lake"}"]'


def test_a_failure_is_told_looked_into_and_repaired(
    run: Callable[..., tuple[int, str]], stage: ShellRuns
) -> None:
    stage.fail_once()
    code, told = run(*FLOW)
    assert (code, "ValueError: it breaks" in told) == (1, True)
    failed = str(number_in(told))
    code, told = run("--inspect-run-id", failed)
    assert code == 0
    for words in (
        f"run {failed}: shell_flow",
        stage.repository.head(),
        "task flow, attempt 1: TERMINATED FAILED",
        "FlowFailed: flows/shell_flow.py ended with exit status 1",
        "Traceback",
        "end of the log",
        f"--repair {failed}",
    ):
        assert words in told
    code, told = run("--repair", failed)
    assert code == 0, told
    assert list(stage.executed()) == ["start", "work", "work", "end"]
    assert "repaired: 1 times" in run("--inspect-run-id", failed)[1]


def test_a_driver_that_never_came_is_explained_and_repaired(
    run: Callable[..., tuple[int, str]], stage: ShellRuns
) -> None:
    stage.workspace.machine.breaks = "Library installation failed: no such package"
    failed = str(number_in(run(*FLOW)[1]))
    told = run("--inspect-run-id", failed)[1]
    assert "Correct the requirement that is named, commit and push it." in told
    code, told = run("--repair", failed)
    assert code == 0
    assert "/end/1" in told  # the log of an attempt that is the driver's first


def test_it_need_not_wait(run: Callable[..., tuple[int, str]], stage: ShellRuns) -> None:
    stage.hold()
    code, told = run(*FLOW, "--no-wait")
    assert code == 0
    assert f"--inspect-run-id {number_in(told)}" in told
    assert "goes on" in run("--inspect-run-id", str(number_in(told)))[1]
    stage.release()
    stage.wait_for("end")


def test_ctrl_c_cancels_the_run(run: Callable[..., tuple[int, str]], stage: ShellRuns) -> None:
    stage.hold()
    flow = stage.repository.root / "flows" / "shell_flow.py"
    command = f"""
import sys, pathlib; sys.path.append({str(ROOT / "scripts")!r}); import run_databricks_job as s
s.ROOT = pathlib.Path({str(stage.repository.root)!r}); s.REQUIREMENTS = ["requirements.txt"]
sys.argv = ["script", "--flow", {str(flow.relative_to(stage.repository.root))!r}]
sys.exit(s.main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", command], env=os.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        stage.wait_for("work")
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    attempt = stage.workspace.jobs.runs[number_in(told)].last
    assert attempt.cancelled


def test_all_that_is_missing_is_told_and_nothing_else(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HOST", "TOKEN", "GIT_URL", "GIT_BRANCH", "GIT_PROVIDER"):
        monkeypatch.delenv(f"DATABRICKS_{name}")
    monkeypatch.delenv("SHARED_FOLDERS")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, told = run(*FLOW)
    assert code == 2
    wanted = ["HOST", "TOKEN", "GIT_URL", "GIT_BRANCH", "(LAKEHOUSE_URI)"]
    assert [w for w in wanted if w not in told] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--size"], 2, "--option VALUE"),
        (["--repair", "1", "--size", "3"], 2, "keeps its parameters"),
        (["--existing-job", "other"], 2, "there is no job 'other'; it has shell, retried"),
        (["--existing-job", "shell", "--size"], 2, "--option VALUE"),
        (["--flow", "flows/none.py"], 2, "there is no such flow"),
        (["--output-uri", "https://me:secret@host/lake"], 2, "holds a password"),
        (["--target", "prod"], 2, "--target cannot be had with a new run"),
        (
            ["--existing-job", "shell", *FLOW],
            2,
            "--flow cannot be had with a job of databricks.yml",
        ),
        (["--existing-job", "shell", "--max-workers", "2"], 2, "--max-workers cannot be had"),
        (
            ["--repair", "1", "--output-uri", "x"],
            2,
            "--output-uri cannot be had with a run that is",
        ),
        (["--inspect-run-id", "1", "--no-wait"], 2, "--no-wait cannot be had"),
        (["--repair", "1"], 1, "Run 1 does not exist"),
    ],
)
def test_mistakes_are_told_in_words_and_by_2_where_nothing_was_asked_of_databricks(
    run: Callable[..., tuple[int, str]],
    stage: ShellRuns,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    ended, told = run(*arguments)
    assert ended == code
    assert words in told
    assert "secret" not in told
    assert code == 1 or not stage.workspace.calls


@pytest.mark.parametrize("number", ["0", "-1"])
def test_a_run_that_would_begin_no_task_is_not_started(
    run: Callable[..., tuple[int, str]],
    stage: ShellRuns,
    number: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*FLOW, f"--max-workers={number}")
    assert "with less than one no task is ever begun" in capsys.readouterr().err
    with pytest.raises(ValidationError, match="max_workers"):
        stage.backend(max_workers=int(number))
    assert not stage.workspace.calls


def test_a_look_is_told_in_whatever_signs_a_terminal_has(
    run: Callable[..., tuple[int, str]], stage: ShellRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.workspace.machine.breaks = "Library installation failed: prüfwert — none"
    number = str(number_in(run(*FLOW)[1]))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert run("--inspect-run-id", number)[0] == 0
    assert b"pr\\xfcfwert \\u2014 none" in terminal.buffer.getvalue()


def test_who_has_read_enough_is_not_told_that_databricks_refuses(
    run: Callable[..., tuple[int, str]], stage: ShellRuns
) -> None:
    stage.workspace.machine.ends = ["FAILED"]
    number = number_in(run(*FLOW)[1])
    command = f"import run_databricks_job, sys; sys.argv = ['x', '--inspect-run-id', '{number}']"
    command = f"{command}; sys.exit(run_databricks_job.main())"
    reader, writer = os.pipe()
    os.close(reader)
    path = os.pathsep.join([str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, "PYTHONPATH": path},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_job_has_the_variables_of_a_one_time_run(
    run: Callable[..., tuple[int, str]], stage: ShellRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("FRAUD_THREADS", "2")
    stage.workspace.machine.ends = ["SUCCESS"] * 2
    for arguments in (FLOW, ("--existing-job", "shell")):
        stage.workspace.bodies.clear()
        code, told = run(*arguments)
        assert code == 0, told
        started = next(b for b in stage.workspace.bodies if "idempotency_token" in b)
        for variable in (
            "AZURE_STORAGE_ACCOUNT_NAME=account",
            "FRAUD_THREADS=2",
            "METAFLOW_USER=me",
        ):
            assert f'"--variable={variable}"' in started


@pytest.mark.parametrize(
    ("arguments", "bundle", "words"),
    [
        (["--note", "x" * 10_000], {}, "take more than 10,000 bytes"),
        ([], {"--size=${var.size}": "--size=${var.size}" + "x" * 10_000}, "more than 10,000 bytes"),
        ([], {"--token={{job.run_id}}": "--at={{job.start_time}}"}, "--at of [git dev] shell"),
        ([], {"--token={{job.run_id}}": "--day=1"}, "no job of a Metaflow flow"),
    ],
)
def test_what_no_run_would_be_given_makes_no_job(
    run: Callable[..., tuple[int, str]],
    stage: ShellRuns,
    arguments: list[str],
    bundle: dict[str, str],
    words: str,
) -> None:
    text = BUNDLE
    for before, after in bundle.items():
        text = text.replace(before, after)
    (stage.repository.root / "databricks.yml").write_text(text)
    code, told = run("--existing-job", "shell", *arguments)
    assert (code, words in told) == (2, True), told
    assert not stage.workspace.jobs.jobs


@pytest.mark.parametrize("what", [FLOW, ("--existing-job", "shell")])
def test_a_mistyped_choice_of_compute_is_no_choice(
    run: Callable[..., tuple[int, str]],
    stage: ShellRuns,
    monkeypatch: pytest.MonkeyPatch,
    what: tuple[str, ...],
) -> None:
    monkeypatch.setenv("DATABRICKS_SERVERLESS", "ture")
    code, told = run(*what)
    assert (code, "DATABRICKS_SERVERLESS=ture: write true or false" in told) == (2, True), told
    assert not stage.workspace.calls


def test_a_job_is_made_from_the_bundle_kept_up_to_date_and_run(
    run: Callable[..., tuple[int, str]], stage: ShellRuns
) -> None:
    code, told = run("--existing-job", "shell")
    assert (code, "[git dev] shell: created" in told) == (0, True), told
    assert '"--size=5"' in (stage.folder / "arguments").read_text()
    code, told = run("--existing-job", "shell", "--size", "7")
    assert (code, "[git dev] shell: as it was" in told) == (0, True), told
    assert '"--size=7"' in (stage.folder / "arguments").read_text()
    (stage.repository.root / "note").write_text(stage.launch_id)
    commit = stage.repository.commit("newer")
    code, told = run("--existing-job", "shell")
    assert (code, "[git dev] shell: updated" in told) == (0, True), told
    assert f"of commit {commit}" in told
    assert len(stage.workspace.jobs.jobs) == 1


@pytest.mark.parametrize(
    "theirs", [{"deployment": {"kind": "BUNDLE"}, "tags": {"dagster_metaflow": "git"}}, {}]
)
def test_a_job_that_somebody_else_has_made_is_left_as_it_is(
    run: Callable[..., tuple[int, str]], stage: ShellRuns, theirs: dict[str, object]
) -> None:
    jobs = stage.workspace.jobs
    task = {"task_key": "x", "spark_python_task": {"python_file": "x"}, "existing_cluster_id": "c"}
    names = ("shell", "[git prod] shell")
    numbers = [
        jobs.create({"name": name, "tasks": [task], "max_concurrent_runs": 7, **theirs})["job_id"]
        for name in names
    ]
    before = [dict(jobs.jobs[number]) for number in numbers]
    code, told = run("--existing-job", "shell", "--target", "prod")
    assert (code, "was not made from here" in told) == (1, True), told
    assert [jobs.jobs[number] for number in numbers] == before
    assert len(jobs.jobs) == len(names)


def test_a_job_has_what_the_shell_says_of_store_scope_and_registry(
    run: Callable[..., tuple[int, str]], stage: ShellRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKEHOUSE_URI")
    monkeypatch.setenv("BUNDLE_VAR_lakehouse_uri", str(stage.folder / "other"))
    monkeypatch.setenv("FRAUD_MODEL_URI", "s3://there/models")
    code, told = run("--existing-job", "shell")
    assert code == 0, told
    assert "--model-uri=s3://there/models" in (stage.folder / "arguments").read_text()
    assert (stage.folder / "other" / "_databricks").is_dir()
    monkeypatch.setenv("DATABRICKS_SECRET_SCOPE", "mine")
    code, told = run("--existing-job", "shell")
    assert (code, "has no variable secret_scope" in told) == (2, True), told
    monkeypatch.setenv("DATABRICKS_SERVERLESS", "false")
    code, told = run("--existing-job", "shell")
    assert (code, "DATABRICKS_SERVERLESS cannot be had with" in told) == (2, True), told

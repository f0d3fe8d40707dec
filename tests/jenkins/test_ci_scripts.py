"""The scripts of a build's stages, run by hand in a folder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from jenkins_kit import ROOT, agent_environment
from osv_server import Osv

SCRIPTS = ROOT / "scripts"
PINS = ("requirements.txt", "infra/constraints.txt", "pyproject.toml")
MAKEFILE = """\
dev:
	@mkdir -p $(VENV)/bin
	@ln -sf {python} $(VENV)/bin/python
	@echo made >> made.txt
"""


def run(folder: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = agent_environment() | variables
    given = [str(part) for part in command]
    return subprocess.run(given, cwd=folder, env=environment, capture_output=True, text=True)


def stage(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, SCRIPTS / "ci_stage.py", *arguments, **variables)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project whose environment takes a moment to make."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE.format(python=sys.executable))
    (folder / "infra").mkdir()
    for name in PINS:
        (folder / name).write_text("one\n")
    return folder


@pytest.mark.parametrize("changed", PINS)
def test_an_environment_is_made_once_for_its_requirements(
    checkout: Path, tmp_path: Path, changed: str
) -> None:
    script, cache = SCRIPTS / "ci_environment.sh", {"CI_CACHE": str(tmp_path / "cache")}
    assert run(checkout, script, **cache).stdout.endswith(": made\n")
    first = (checkout / ".venv").resolve()
    assert run(checkout, script, **cache).stdout == f"{first}: found\n"
    (checkout / changed).write_text("two\n")
    run(checkout, script, **cache)
    assert (checkout / ".venv").resolve() != first
    assert (checkout / "made.txt").read_text() == "made\nmade\n"


def test_one_that_was_not_finished_is_made_again_and_an_old_one_is_removed(
    checkout: Path, tmp_path: Path
) -> None:
    script, cache = SCRIPTS / "ci_environment.sh", tmp_path / "cache"
    run(checkout, script, CI_CACHE=str(cache))
    (checkout / ".venv" / ".complete").unlink()
    old = cache / "venv-of-last-year"
    old.mkdir()
    (old / ".complete").touch()
    os.utime(old / ".complete", (0, 0))
    assert run(checkout, script, CI_CACHE=str(cache)).stdout.endswith(": made\n")
    assert not old.exists()


def test_a_folder_that_make_has_made_is_no_place_for_a_link(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv").mkdir()
    for given in ({"CI_CACHE": str(tmp_path / "cache")}, {"CI_VENV": sys.prefix}):
        ended = run(checkout, SCRIPTS / "ci_environment.sh", **given)
        assert ended.returncode == 1
        assert ".venv is a folder, as make leaves it" in ended.stderr
    assert list((checkout / ".venv").iterdir()) == []


@pytest.mark.parametrize("same", [True, False])
def test_what_an_earlier_build_has_left_running_is_ended_first(tmp_path: Path, same: bool) -> None:
    """And nothing that only has its number by now."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "ci").mkdir()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    began = psutil.Process(left.pid).create_time() - (0 if same else 3600)
    noted = {"url": "http://127.0.0.1:1", "pid": left.pid, "began": began}
    (tmp_path / "ci" / "dagster.json").write_text(json.dumps(noted))
    try:
        ended = run(tmp_path, SCRIPTS / "ci_begin.sh", PYTHONPATH=str(ROOT))
        assert ended.returncode == 0, ended.stderr
        assert (left.poll() is None) is not same, ended.stderr
    finally:
        left.kill()
        left.wait()
    assert [path.name for path in (tmp_path / "ci").iterdir()] == ["junit"]


@pytest.mark.flow
def test_two_builds_have_no_dagster_in_one_home(tmp_path: Path) -> None:
    """Two daemons would take the same runs out of its queue."""
    home = {"DAGSTER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    script = SCRIPTS / "ci_dagster.py"
    try:
        started = run(first, sys.executable, script, "up", **home)
        assert started.returncode == 0, started.stderr
        pid = json.loads((first / "ci" / "dagster.json").read_text())["pid"]
        refused = run(second, sys.executable, script, "up", **home)
        assert refused.returncode == 1
        assert f"Process {pid}, of a build in {first}, has a Dagster in" in refused.stderr
        assert not (second / "ci" / "dagster.json").exists()
    finally:
        ended = [run(f, sys.executable, script, "down", **home).stdout for f in (first, second)]
    assert ended == ["Dagster was ended\n", ""]
    with (tmp_path / "home" / "one-dagster.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"DEPLOY_TO": ""}, "DEPLOY_TO, the root of the registry that servers read, is not set"),
        ({"BRANCH_NAME": "mine"}, "Only builds of main deploy, and this is one of mine"),
        ({"GITHUB_REF_NAME": "mine"}, "Only builds of main deploy, and this is one of mine"),
        ({}, ""),
    ],
)
def test_what_could_not_be_deployed_is_refused_before_anybody_is_asked(
    tmp_path: Path, given: dict[str, str], told: str
) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "deployable").write_text("20240301-aaaaaaaaaaaa\n")
    variables = {"DEPLOY_TO": "/srv/models", "BRANCH_NAME": "", "GITHUB_REF_NAME": ""} | given
    ended = run(tmp_path, SCRIPTS / "ci_deploy.sh", "--check", **variables)
    assert (ended.returncode, ended.stderr.strip()) == (2 if told else 0, told)


def test_nothing_to_judge_is_an_error_where_it_is_to_be_deployed(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    for deploy, code in (("false", 0), ("true", 1)):
        variables = {"DATASET": "motr", "FRAUD_MODEL_URI": str(tmp_path), "DEPLOY": deploy}
        gate = (sys.executable, SCRIPTS / "quality_gate.py", "--folder", "ci")
        ended = run(tmp_path, *gate, **variables, PYTHONPATH=str(ROOT))
        assert ended.returncode == code
        assert "there is no champion of motr in " in (ended.stderr if code else ended.stdout)


def test_a_stage_that_fails_is_noted_with_its_last_lines_and_without_secrets(
    tmp_path: Path,
) -> None:
    said = "echo beginning; echo 'cannot log in with hunter22hunter22'; exit 3"
    ended = stage(
        tmp_path, "Unit tests", "sh", "-c", said, **{"SNOWFLAKE_PASSWORD": "hunter22hunter22"}
    )
    assert ended.returncode == 3
    assert ended.stdout == "beginning\ncannot log in with ****\n"
    note = json.loads((tmp_path / "ci" / "failed" / "unit-tests.json").read_text())
    assert (note["stage"], note["code"]) == ("Unit tests", 3)
    assert note["tail"] == "beginning\ncannot log in with ****"


def test_an_optional_stage_fails_nothing(tmp_path: Path) -> None:
    assert stage(tmp_path, "--optional", "Run log", "false").returncode == 0
    assert not (tmp_path / "ci").exists()


def test_a_stage_that_is_stopped_waits_for_its_command(tmp_path: Path) -> None:
    takes_leave = "trap 'sleep 0.3; echo left; exit 5' TERM; echo up; sleep 30 & wait"
    command = [sys.executable, str(SCRIPTS / "ci_stage.py"), "Run", "bash", "-c", takes_leave]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == ("left\n", 5)


def test_an_optional_stage_waits_for_one_that_is_still_ending(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    command = [sys.executable, str(SCRIPTS / "ci_stage.py"), "Run"]
    ending = "trap '' TERM; echo up; sleep 1; echo x > done"
    process = subprocess.Popen(
        [*command, "bash", "-c", ending], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert stage(tmp_path, "--optional", "Run log", "cat", "done").stdout == "x\n"
    process.communicate(timeout=20)


def test_a_key_in_what_git_tracks_is_found_once(tmp_path: Path) -> None:
    script = [sys.executable, SCRIPTS / "ci_secrets.py"]
    key = "AKIA" + "QWERTZUIOPASDFGH"
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "kit.py").write_text(f"password = 'hunter22'\nkey = '{key}'\n")
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "git", "add", "-A")
    found = run(tmp_path, *script)
    assert found.returncode == 1
    assert "tests/kit.py:2: AWS Access Key" in found.stdout
    assert "tests/kit.py:1" not in found.stdout  # tests invent passwords
    assert key not in found.stdout
    # A commit that Git does not know, as after a push by force, is none to begin from.
    forgotten = run(tmp_path, *script, GIT_PREVIOUS_SUCCESSFUL_COMMIT="deadbeef" * 5)
    assert forgotten.stdout == found.stdout
    run(tmp_path, *script, "--update")
    assert run(tmp_path, *script).returncode == 0


def test_a_vulnerable_dependency_stops_a_build_until_somebody_has_looked_at_it(
    tmp_path: Path, vulnerabilities: Osv
) -> None:
    script = SCRIPTS / "ci_security.sh"
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "constraints.txt").write_text("pyyaml==6.0.2\n")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "scripts").symlink_to(SCRIPTS)
    run(tmp_path, "git", "init", "-q")
    vulnerabilities.vulnerable.add("pyyaml")
    found = run(tmp_path, script, OSV_URL=vulnerabilities.url)
    assert found.returncode == 1
    assert "PYSEC-2026-1" in (tmp_path / "ci" / "audit.json").read_text()
    (tmp_path / ".audit-ignore").write_text("PYSEC-2026-1  # we parse our own files only\n")
    assert run(tmp_path, script, OSV_URL=vulnerabilities.url).returncode == 0
    vulnerabilities.vulnerable.clear()


def test_a_build_without_any_environment_says_that_nobody_was_told(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = run(tmp_path, SCRIPTS / "ci_notify.sh", "failed", CI_CACHE=str(tmp_path / "none"))
    assert ended.returncode == 0
    assert "Nobody was told" in ended.stderr
    assert time.monotonic() - began < 10

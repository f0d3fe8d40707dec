"""scripts/deploy_from_s3.sh, broken off at any moment: what was served is gone back to."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from api_kit import DATASET, ROOT, Published, open_server

from fraud_mlops.registry.pointers import read_pointer

SCRIPT = str(ROOT / "scripts" / "deploy_from_s3.sh")
NOBODY = ("--server", "http://127.0.0.1:9", "--timeout", "60")


@pytest.fixture
def target(published: Published, tmp_path: Path) -> Path:
    """This machine's registry: all versions, and the first is champion."""
    return Path(shutil.copytree(published.models, tmp_path / "models"))


def champion(target: Path) -> str | None:
    pointer = read_pointer(str(target), DATASET, "champion")
    return pointer.version if pointer else None


def started(published: Published, target: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [SCRIPT, "--from", published.models, "--to", str(target), "--dataset", DATASET]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, *arguments], stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)
    )


def deploy(published: Published, target: Path, *arguments: str) -> tuple[int, str]:
    """Exit code, and all that was said."""
    with started(published, target, *arguments) as process:
        out, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    return process.returncode, out + errors


def switched(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    while "switched" not in process.stdout.readline():
        assert process.poll() is None


def test_what_a_killed_deployment_left_is_not_gone_back_to(
    published: Published, target: Path, tmp_path: Path
) -> None:
    """The server has taken nothing but the first version, whatever is pointed at."""
    first, second = published.versions.values()
    with open_server(published, tmp_path) as server:  # of another copy: nothing here reaches it
        with started(published, target, "--version", second, *NOBODY) as process:
            switched(process)
            process.kill()
        assert champion(target) == second
        given = ("--version", second, "--server", server.url, "--timeout", "2")
        code, told = deploy(published, target, *given)
    assert (code, champion(target)) == (1, first), told
    assert f"{second} was pointed at already" in told
    assert f"rolled back from {second} to {first}" in told


def test_of_two_deployments_at_once_one_is_refused(published: Published, target: Path) -> None:
    first, second = published.versions.values()
    with started(published, target, "--version", second, *NOBODY) as process:
        switched(process)
        code, told = deploy(published, target, "--version", second)
        assert (code, "another process is deploying" in told) == (1, True), told
        process.terminate()
        process.communicate(timeout=30)
    assert champion(target) == first


def test_a_terminal_that_ends_takes_nobodys_word_away(published: Published, target: Path) -> None:
    """As an ssh session does that drops: nothing can be said any more, and it is taken back."""
    first, second = published.versions.values()
    with started(published, target, "--version", second, *NOBODY) as process:
        switched(process)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 128 + signal.SIGHUP
    assert champion(target) == first


def test_a_folder_that_cannot_be_written_is_told_in_words(published: Published) -> None:
    code, told = deploy(published, Path("/proc/nothing"))
    assert (code, "may write there" in told) == (1, True), told


def test_a_disk_that_is_full_is_told_in_words(published: Published, tmp_path: Path) -> None:
    with started(published, tmp_path / "models") as process:
        no_room(process.pid)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, champion(tmp_path / "models")) == (1, None)
    assert "has room" in errors
    assert "Traceback" not in errors


def no_room(pid: int, room: int = 10) -> None:
    """For no file of more than a few bytes; as much as there is for -1."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))


@pytest.mark.parametrize("mended", [True, False])
def test_what_cannot_be_taken_back_is_tried_again_and_said_with_the_command(
    published: Published, target: Path, mended: bool
) -> None:
    first, second = published.versions.values()
    with started(published, target, "--version", second, *NOBODY) as process:
        switched(process)
        no_room(process.pid)
        process.terminate()
        time.sleep(3)
        assert champion(target) == second
        if mended:
            no_room(process.pid, -1)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    if mended:
        assert (process.returncode, champion(target)) == (128 + signal.SIGTERM, first), errors
        return
    assert (process.returncode, champion(target)) == (3, second), errors
    assert f"NOT TAKEN BACK: {DATASET} still points at {second}" in errors
    assert f"--rollback --expected {second}" in errors

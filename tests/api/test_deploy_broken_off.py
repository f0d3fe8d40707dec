"""scripts/deploy_from_s3.sh, broken off at any moment: what was served is gone back to."""

from __future__ import annotations

import http.server
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_kit import DATASET, ROOT, Published, champion, open_server

from fraud_mlops.registry.pointers import promote
from fraud_mlops.serving.deploying import alone, switch

SCRIPT = str(ROOT / "scripts" / "deploy_from_s3.sh")
NOBODY = ("--server", "http://127.0.0.1:9", "--timeout", "60")


def started(
    published: Published, target: Path, *arguments: str, under: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    command = [*under, SCRIPT, "--from", published.models, "--to", str(target)]
    command += ["--dataset", DATASET]
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


def test_a_rollback_that_the_server_does_not_take_is_not_said_to_be_done(
    published: Published, target: Path
) -> None:
    first, second = published.versions.values()
    promote(str(target), DATASET, second, expected=first, by="ann", reason="a better one")
    nobody = ("--server", "http://127.0.0.1:9", "--timeout", "1")
    code, told = deploy(published, target, "--rollback", *nobody)
    assert (code, champion(target)) == (1, first), told
    assert f"http://127.0.0.1:9 does not serve {first}" in told


def test_a_rollback_that_is_broken_off_says_what_stays(published: Published, target: Path) -> None:
    first, second = published.versions.values()
    switch(str(target), DATASET, second, by="test")
    with started(published, target, "--rollback", *NOBODY) as process:
        assert process.stdout is not None
        while "rolled back" not in process.stdout.readline():
            assert process.poll() is None
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, champion(target)) == (128 + signal.SIGTERM, first), errors
    assert "waiting for it was broken off\nIt is pointed at, and stays" in errors


def test_a_rollback_in_a_folder_that_is_none_makes_none(
    published: Published, tmp_path: Path
) -> None:
    code, told = deploy(published, tmp_path / "modles", "--rollback")
    assert (code, "there is none to roll back" in told) == (1, True), told
    assert list(tmp_path.iterdir()) == []


def test_a_rollback_waits_for_no_deployment_that_goes_on(
    published: Published, target: Path
) -> None:
    first, second = published.versions.values()
    promote(str(target), DATASET, second, expected=first, by="ann", reason="a better one")
    with alone(str(target), DATASET):
        code, told = deploy(published, target, "--rollback")
    assert (code, champion(target)) == (1, second), told
    assert "another process is deploying" in told


def test_what_a_person_has_promoted_just_now_is_not_lost(
    published: Published, target: Path
) -> None:
    """The server had not looked yet."""
    first, second = published.versions.values()
    promote(str(target), DATASET, second, expected=first, by="ann", reason="a better one")
    assert switch(str(target), DATASET, first, serves=first, by="test").previous == second


def test_what_the_registry_does_not_have_is_not_gone_back_to(
    published: Published, target: Path
) -> None:
    first, second = published.versions.values()
    switch(str(target), DATASET, second, by="test")
    done = switch(str(target), DATASET, first, serves="20200101-0123456789ab", by="test")
    assert done.previous == second


@pytest.fixture
def stranger(published: Published) -> Iterator[str]:
    """A server that says it serves the first version, of another dataset."""

    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            told = {"ready": True, "dataset": "other", "version": published.versions["first"]}
            self.wfile.write(json.dumps(told).encode())

    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_serves_another_dataset_says_nothing_of_this_one(
    published: Published, target: Path, stranger: str
) -> None:
    second = published.versions["second"]
    switch(str(target), DATASET, second, by="test")
    given = ("--version", second, "--server", stranger, "--timeout", "1")
    code, told = deploy(published, target, *given)
    assert (code, champion(target)) == (1, second), told


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


def test_what_it_was_started_to_ignore_does_not_break_it_off(
    published: Published, target: Path
) -> None:
    first, second = published.versions.values()
    given = ("--version", second, *NOBODY)
    with started(published, target, *given, under=("nohup",)) as process:
        switched(process)
        process.send_signal(signal.SIGHUP)
        time.sleep(2)
        assert (process.poll(), champion(target)) == (None, second)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, champion(target)) == (128 + signal.SIGTERM, first), errors


def test_what_is_wrong_with_the_source_is_not_told_of_the_target(
    published: Published, tmp_path: Path
) -> None:
    (tmp_path / "source" / DATASET / "champion.json").mkdir(parents=True)
    target = tmp_path / "models"
    code, told = deploy(published, target, "--from", str(tmp_path / "source"))
    assert (code, "Is a directory" in told) == (1, True), told
    assert str(target) not in told


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


def test_what_cannot_be_taken_back_is_tried_again(published: Published, target: Path) -> None:
    first, second = published.versions.values()
    with started(published, target, "--version", second, *NOBODY) as process:
        switched(process)
        no_room(process.pid)
        process.terminate()
        time.sleep(3)
        assert champion(target) == second
        no_room(process.pid, -1)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert (process.returncode, champion(target)) == (128 + signal.SIGTERM, first), errors


@pytest.mark.parametrize("the_first", [True, False])
def test_what_was_not_taken_back_is_by_the_command_that_is_told(
    published: Published, target: Path, the_first: bool
) -> None:
    first, second = published.versions.values()
    before = None if the_first else first
    if the_first:
        (target / DATASET / "champion.json").unlink()
        shutil.rmtree(target / DATASET / "history")
    with started(published, target, "--version", second, *NOBODY) as process:
        switched(process)
        no_room(process.pid)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert (process.returncode, champion(target)) == (3, second), errors
    assert f"NOT TAKEN BACK: {DATASET} still points at {second}" in errors
    name, *words = shlex.split(errors.splitlines()[-1].removeprefix("Once that is mended: "))
    assert name == "fraud-mlops"
    subprocess.run([sys.executable, "-m", "fraud_mlops.cli", *words], check=True)
    assert champion(target) == before

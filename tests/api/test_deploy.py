"""scripts/deploy_from_s3.sh: from a registry on S3 to a server on this machine, and back."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from api_kit import DATASET, ROOT, Published, champion, open_server, with_other_alerts

sys.path[:0] = [str(ROOT / "tests" / "stores")]

from store_servers import AWS, s3_server  # noqa: E402

from fraud_mlops.pipeline.reference import REFERENCE  # noqa: E402
from fraud_mlops.registry.bundle import (  # noqa: E402
    bundle_version,
    load_bundle,
    write_bundle,
    write_manifest,
)
from fraud_mlops.registry.pointers import history, promote  # noqa: E402

LACKING = {"numeric": ["driver_age"]}
"""Of a contract, fewer features than the model was trained on."""
NOBODY = ("--server", "http://127.0.0.1:9", "--timeout", "1")


class Remote:
    """A registry on S3 with everything that was published."""

    def __init__(self, endpoint: str, published: Published) -> None:
        self.environment = {**os.environ, **AWS, "AWS_ENDPOINT_URL": endpoint}
        self.uri = "s3://models-of-tests/registry"
        signed = {"key": "testing", "secret": "testing"}
        self.s3 = fsspec.filesystem("s3", client_kwargs={"endpoint_url": endpoint}, **signed)
        self.s3.mkdirs("models-of-tests", exist_ok=True)
        self.s3.put(f"{published.models}/", f"{self.uri}/", recursive=True)

    def start(self, target: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [str(ROOT / "scripts" / "deploy_from_s3.sh"), "--to", str(target)]
        command += ["--dataset", DATASET, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=self.environment)

    def deploy(self, target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.start(target, *arguments) as process:
            out, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


@pytest.fixture(scope="module")
def remote(published: Published) -> Iterator[Remote]:
    with s3_server() as endpoint:
        yield Remote(endpoint, published)


def test_fetched_verified_tried_switched_and_rolled_back(
    published: Published, remote: Remote, tmp_path: Path
) -> None:
    first, second = published.versions["first"], published.versions["second"]
    target = tmp_path / "models"
    ran = remote.deploy(target, "--from", remote.uri)
    assert (ran.returncode, champion(target)) == (0, first), ran.stderr
    for word in ("verified", "canary", f"switched from nothing to {first}"):
        assert word in ran.stdout
    environment = {"FRAUD_MODEL_URI": str(target)}
    with open_server(published, tmp_path, **environment) as server:
        ran = remote.deploy(
            target, "--from", remote.uri, "--version", second, "--server", server.url
        )
        assert (ran.returncode, server.version()) == (0, second), ran.stderr
        ran = remote.deploy(target, "--rollback", "--server", server.url)
        assert (ran.returncode, server.version()) == (0, first), ran.stderr


def test_a_damaged_version_is_not_switched_to(
    published: Published, remote: Remote, target: Path
) -> None:
    second = published.versions["second"]
    weights = f"{remote.uri}/{DATASET}/{second}/weights.safetensors"
    kept = remote.s3.cat_file(weights)
    remote.s3.pipe_file(weights, kept[:-1] + bytes([kept[-1] ^ 1]))
    ran = remote.deploy(target, "--from", remote.uri, "--version", second)
    remote.s3.pipe_file(weights, kept)
    assert (ran.returncode, champion(target)) == (1, published.versions["first"])
    assert "sha256 differs" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_version_that_cannot_be_loaded_is_told_in_words(
    own: Published, remote: Remote, target: Path
) -> None:
    bundle = load_bundle(own.models, DATASET, own.versions["second"])
    reference = pq.read_table(io.BytesIO(bundle.files[REFERENCE])).drop_columns(["amount"])
    content = io.BytesIO()
    pq.write_table(reference, content)
    files = bundle.files | {REFERENCE: content.getvalue()}
    odd = bundle_version(files, bundle.manifest.trained_until)
    named = bundle.manifest.model_copy(update={"version": odd, "files": {}})
    write_bundle(own.models, DATASET, odd, files, named)
    ran = remote.deploy(target, "--from", own.models, "--version", odd)
    assert (ran.returncode, champion(target)) == (1, own.versions["first"])
    assert f"{odd} cannot be loaded: KeyError" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_server_that_does_not_take_it_gets_the_old_one_back(
    published: Published, remote: Remote, target: Path
) -> None:
    second = published.versions["second"]
    ran = remote.deploy(target, "--from", remote.uri, "--version", second, *NOBODY)
    assert (ran.returncode, champion(target)) == (1, published.versions["first"])
    assert f"rolled back from {second} to {published.versions['first']}" in ran.stdout


def test_a_rollback_takes_back_what_it_names_and_nobody_elses_move(
    published: Published, remote: Remote, target: Path
) -> None:
    first, second = published.versions.values()
    promote(str(target), DATASET, second, expected=first, by="ann", reason="a better one")
    refused = remote.deploy(target, "--rollback", "--expected", first)
    assert (refused.returncode, champion(target)) == (1, second)
    assert f"{second} is pointed at since" in refused.stderr
    assert "by ann" in refused.stderr
    taken = remote.deploy(target, "--rollback", "--expected", second)
    assert (taken.returncode, champion(target)) == (0, first), taken.stderr
    nothing = remote.deploy(target, "--rollback")
    assert (nothing.returncode, champion(target)) == (1, first)
    assert "nothing to go back to" in nothing.stderr


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_a_copy_that_is_damaged_here_is_mended_by_deploying_it_again(
    published: Published, remote: Remote, target: Path, name: str
) -> None:
    first = published.versions["first"]
    (target / DATASET / first / name).write_bytes(b"lost")
    ran = remote.deploy(target, "--from", remote.uri, "--version", first)
    assert ran.returncode == 0, ran.stderr
    there = load_bundle(str(target), DATASET, first)
    assert there.files == load_bundle(str(published.models), DATASET, first).files


def test_a_first_version_that_is_not_taken_leaves_no_champion(
    published: Published, remote: Remote, tmp_path: Path
) -> None:
    target, (first, second) = tmp_path / "models", published.versions.values()
    refused = remote.deploy(target, "--from", remote.uri, *NOBODY)
    assert (refused.returncode, champion(target)) == (1, None)
    assert "taken back" in refused.stdout
    again = remote.deploy(target, "--from", remote.uri)
    assert (again.returncode, champion(target)) == (0, first), again.stderr
    with open_server(published, tmp_path, FRAUD_MODEL_URI=str(target)) as server:
        given = ("--version", second, "--server", server.url)
        assert remote.deploy(target, "--from", remote.uri, *given).returncode == 0
    told = [(move.version, move.withdrawn) for move in history(str(target), DATASET)]
    assert told == [(first, False), (first, True), (first, False), (second, False)]


def test_an_older_version_that_is_not_taken_gives_way_to_the_newer_one(
    published: Published, remote: Remote, target: Path
) -> None:
    first, second = published.versions.values()
    promote(str(target), DATASET, second, expected=first, by="ann", reason="a better one")
    ran = remote.deploy(target, "--from", remote.uri, "--version", first, *NOBODY)
    assert (ran.returncode, champion(target)) == (1, second)
    assert f"rolled back from {first} to {second}" in ran.stdout


def test_a_version_that_was_pointed_at_before_is_not_said_to_be_served(
    published: Published, remote: Remote, target: Path
) -> None:
    first = published.versions["first"]
    ran = remote.deploy(target, "--from", remote.uri, "--version", first, *NOBODY)
    assert (ran.returncode, champion(target)) == (1, first)
    assert f"{first} was pointed at already" in ran.stdout
    assert "stays" in ran.stderr


def test_the_same_version_of_other_alerts_is_waited_for(
    published: Published, own: Published, target: Path, remote: Remote, tmp_path: Path
) -> None:
    first, models = published.versions["first"], {"FRAUD_MODEL_URI": str(target)}
    digest = with_other_alerts(own.models, first, budget=0.0502)
    with open_server(published, tmp_path, **models) as server:
        ran = remote.deploy(target, "--from", own.models, "--server", server.url)
        assert (ran.returncode, server.get("/readyz").json()["manifest"]) == (0, digest), ran.stderr
    with_other_alerts(own.models, first, budget=0.06)
    models["FRAUD_API_POLL_SECONDS"] = "3600"
    with open_server(published, tmp_path, **models) as server:
        given = ("--server", server.url, "--timeout", "0.2")
        ran = remote.deploy(target, "--from", own.models, *given)
    assert ran.returncode == 1
    assert f"it serves {first}, by another manifest" in ran.stderr
    assert f"taken back: {first} has the manifest that it had before" in ran.stdout
    assert load_bundle(str(target), DATASET, first).manifest.digest == digest


def test_the_same_version_is_taken_back_too_when_its_deployment_is_broken_off(
    own: Published, remote: Remote, target: Path
) -> None:
    first = own.versions["first"]
    manifest = target / DATASET / first / "manifest.json"
    before = manifest.read_bytes()
    with_other_alerts(own.models, first, budget=0.06)
    given = ("--from", own.models, "--server", "http://127.0.0.1:9")
    with remote.start(target, *given) as process:
        assert process.stdout is not None
        while "pointed at already" not in process.stdout.readline():
            assert process.poll() is None
        assert manifest.read_bytes() != before
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, champion(target)) == (128 + signal.SIGTERM, first), errors
    assert manifest.read_bytes() == before


def test_a_manifest_that_fails_its_canaries_does_not_reach_the_servers(
    own: Published, remote: Remote, target: Path
) -> None:
    first = own.versions["first"]
    manifest = target / DATASET / first / "manifest.json"
    before = manifest.read_bytes()
    with_other_alerts(own.models, first, budget=0.06)
    bundle = load_bundle(own.models, DATASET, first)
    wrong = bundle.manifest.model_copy(update={"contract": bundle.manifest.contract | LACKING})
    write_manifest(own.models, wrong.sealed())
    ran = remote.deploy(target, "--from", own.models)
    assert (ran.returncode, champion(target)) == (1, first)
    assert "needs features that its contract does not give" in ran.stderr
    assert manifest.read_bytes() == before


def test_a_manifest_that_cannot_be_served_gives_way_to_the_one_that_is_brought(
    own: Published, remote: Remote, target: Path
) -> None:
    first = own.versions["first"]
    good = load_bundle(own.models, DATASET, first).manifest
    lacking = good.model_copy(update={"contract": good.contract | LACKING})
    write_manifest(str(target), lacking.sealed())
    ran = remote.deploy(target, "--from", own.models)
    assert (ran.returncode, champion(target)) == (0, first)
    assert load_bundle(str(target), DATASET, first).manifest.digest == good.digest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_deployment_that_is_broken_off_while_it_waits_is_taken_back(
    published: Published, remote: Remote, target: Path, number: signal.Signals
) -> None:
    first, second = published.versions.values()
    given = ("--from", remote.uri, "--version", second, "--server", "http://127.0.0.1:9")
    with remote.start(target, *given) as process:
        assert process.stdout is not None
        while "switched" not in process.stdout.readline():
            assert process.poll() is None
        assert champion(target) == second
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, champion(target)) == (128 + number, first), errors
    assert f"rolled back from {second} to {first}" in out
    assert "broken off" in errors


def test_wrong_usage_is_told(remote: Remote, tmp_path: Path) -> None:
    ran = remote.deploy(tmp_path)
    assert (ran.returncode, "--from" in ran.stderr) == (2, True)
    for wrong in (("--expected", "x"), ("--rollback", "--version", "x")):
        assert remote.deploy(tmp_path, *wrong).returncode == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [((), "has no champion"), (("--version", "20240301-0123456789ab"), "no such model version")],
)
def test_what_the_source_does_not_have_leaves_nothing_in_the_target(
    remote: Remote, tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    ran = remote.deploy(tmp_path, "--from", f"{remote.uri}/mistyped", *given)
    assert (ran.returncode, told in ran.stderr) == (1, True), ran.stderr
    assert list(tmp_path.iterdir()) == []

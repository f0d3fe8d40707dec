"""`fraud-mlops doctor` and the API's settings: whether it could start, and for whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from web_page import Page, served

from api.doctor import look
from api.keys import main as keys
from fraud_mlops.doctor.examine import ask, services
from fraud_mlops.doctor.finding import Finding
from fraud_mlops.settings import settings

Set = Callable[..., None]
NAMES = {"FRAUD_API_OIDC_ISSUER": "https://login.example.org", "FRAUD_API_OIDC_AUDIENCE": "fraud"}


def found() -> dict[str, Finding]:
    return {one.name: one for one in look()}


@pytest.fixture
def key_file(shell: Set, tmp_path: Path) -> Path:
    shell(FRAUD_API_KEYS_FILE=str(tmp_path / "keys.json"))
    return tmp_path / "keys.json"


def add_key(file: Path, *more: str) -> None:
    done = CliRunner().invoke(keys, ["add", "--file", str(file), "--id", "me", *more])
    assert done.exit_code == 0, done.output


def test_an_api_that_nobody_has_set_up_is_not_looked_at(shell: Set) -> None:
    assert "API" not in services(settings())
    shell(FRAUD_API_DATASET="served_claims")
    assert "API" in services(settings())


def test_what_it_needs_is_there(key_file: Path, tmp_path: Path) -> None:
    """Asked as the doctor asks: by a process of its own."""
    add_key(key_file)
    told = {one.name: one for one in ask("API", 60)}
    assert {name: one.status for name, one in told.items()} == {
        "API's keys": "ok",
        "API's log folder": told["API's log folder"].status,  # as the machine's disk is
        "API": "ok",
    }
    assert told["API's keys"].says == f"{key_file}: 1 good, 0 expired"
    assert told["API"].says == "scores with the champion of synthetic_claims"
    assert not (tmp_path / ".fraud_api").exists()  # nothing is made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read (No such file or directory)"),
        ('{"keys": [{"id": "me", "sha256": "no-hash-s3cret"}]}', "keys.0.sha256"),
        ("{", "Invalid JSON"),
    ],
)
def test_keys_that_cannot_be_read(key_file: Path, text: str | None, says: str) -> None:
    if text is not None:
        key_file.write_text(text)
    one = found()["API's keys"]
    assert (one.status, says in one.says) == ("wrong", True), one
    assert "FRAUD_API_KEYS_FILE=" in one.says
    assert f"python -m api.keys add --file {key_file} --id me" in str(one.mend)
    assert "s3cret" not in one.model_dump_json()


def test_keys_that_have_all_expired_let_nobody_in(key_file: Path) -> None:
    add_key(key_file, "--not-after", "2024-01-01T00:00:00Z")
    one = found()["API's keys"]
    assert (one.status, "0 good, 1 expired" in one.says) == ("warning", True)


def test_an_api_that_lets_nobody_in_and_one_that_lets_everybody(shell: Set) -> None:
    shell(FRAUD_API_DATASET="served_claims")
    assert (found()["API"].status, "nobody may score" in found()["API"].says) == ("wrong", True)
    shell(FRAUD_API_OPEN="1")
    assert (found()["API"].status, "anybody" in found()["API"].says) == ("warning", True)


def test_settings_that_are_wrong_are_named_together(shell: Set) -> None:
    shell(FRAUD_API_RATE_LIMIT="-1", FRAUD_API_FLUSH_ROWS="none")
    one = found()["API"]
    assert one.status == "wrong"
    assert "FRAUD_API_RATE_LIMIT" in one.says
    assert "FRAUD_API_FLUSH_ROWS" in one.says
    shell(FRAUD_API_RATE_LIMIT="1", FRAUD_API_FLUSH_ROWS="1", FRAUD_API_OIDC_AUDIENCE="fraud")
    assert "go together" in found()["API"].says


def test_a_folder_for_predictions_that_cannot_be_written_to(shell: Set, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shell(FRAUD_API_LOG_FOLDER=str(tmp_path / "file"))
    one = found()["API's log folder"]
    assert (one.status, "is a file, where a folder should be" in one.says) == ("wrong", True)
    shell(FRAUD_API_LOG_PREDICTIONS="0")
    assert "API's log folder" not in found()


class Published(Page):
    """The keys of an issuer."""


@pytest.fixture
def issuer() -> Iterator[str]:
    with served(Published) as port:
        yield f"http://127.0.0.1:{port}"


def test_an_issuer_with_keys_and_one_with_a_page_for_people(shell: Set, issuer: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key)) | {"kid": "of-june", "use": "sig"}
    Published.text = json.dumps({"keys": [public]}).encode()
    shell(**NAMES | {"FRAUD_API_OIDC_ISSUER": issuer})
    one = found()["API's issuer"]
    says = f"{issuer}/.well-known/jwks.json: signs with of-june"
    assert (one.status, one.says) == ("ok", says)
    assert found()["API"].status == "ok"
    Published.text = b"<html>Sign in</html>"
    one = found()["API's issuer"]
    assert (one.status, "is not JSON" in one.says) == ("wrong", True)
    Published.text = b'{"keys": []}'
    assert found()["API's issuer"].status == "wrong"


def test_an_issuer_out_of_reach_and_one_by_plain_http(shell: Set, issuer: str) -> None:
    shell(**NAMES, FRAUD_API_OIDC_JWKS_URL="http://127.0.0.1:9/keys")
    one = found()["API's issuer"]
    assert (one.status, "Connection refused" in one.says) == ("wrong", True)
    assert str(one.mend).startswith("curl --max-time 10 http://127.0.0.1:9/keys")
    shell(FRAUD_API_OIDC_JWKS_URL="http://login.example.org/keys")
    assert "plain HTTP" in found()["API's issuer"].says

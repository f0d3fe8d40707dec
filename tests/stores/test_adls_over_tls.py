"""ADLS as it is: by the account's own address, over TLS, signed in by Microsoft Entra, a signature
or a key. Programs of their own, since who is trusted is settled when a program starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from entra_kit import (
    AUDIENCE,
    HOST,
    Identity,
    Tunnel,
    certificate,
    managed_identity,
    refusing,
    token,
    tunnel,
)
from store_servers import ACCOUNT, CONTAINER, KEY, NO_STORE, Azurite, azurite

FLOW = Path(__file__).parents[2] / "flows" / "fraud_detection_flow.py"
CANDIDATE = "- {name: line, family: logistic, seed: 2, params: {epochs: 4}}\n"
PROGRAM = Path(__file__).with_name("publish_and_read.py")
NO_PROXY = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file")
OTHER_SIGN_INS = ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID",
                  "AZURE_TOKEN_CREDENTIALS", "AZURE_FEDERATED_TOKEN_FILE")  # fmt: skip


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite-tls")
    with azurite(folder, certificate(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def network(secure: Azurite) -> Iterator[Tunnel]:
    with tunnel(secure.endpoint) as made:
        yield made


@pytest.fixture
def identity() -> Iterator[Identity]:
    with managed_identity() as made:
        yield made


@dataclass
class Program:
    """A computer where the certificate is trusted, and the account's name is Azurite's."""

    environment: dict[str, str]
    folder: Path

    def signed_in_by(self, identity: Identity) -> Program:
        """Nothing of ours is set but the account's name; the platform sets the rest."""
        return self.with_(IDENTITY_ENDPOINT=identity.url, IDENTITY_HEADER=identity.secret)

    def with_(self, **variables: str) -> Program:
        return replace(self, environment=self.environment | variables)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and all that it says and logs."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def publish(self, name: str) -> tuple[int, str]:
        return self.run("-W", "error", str(PROGRAM), f"abfss://{CONTAINER}/{name}")

    def look(self, name: str) -> tuple[int, str]:
        return self.tool("lake", "list", "--output-uri", f"abfss://{CONTAINER}/{name}")

    def tool(self, *arguments: str) -> tuple[int, str]:
        return self.run("-W", "error", "-m", "fraud_mlops.cli", *arguments)


@pytest.fixture
def program(secure: Azurite, network: Tunnel, tmp_path: Path) -> Program:
    left_out = {*NO_STORE, *OTHER_SIGN_INS}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and name.lower() not in NO_PROXY
    }
    assert secure.tls is not None
    kept |= {
        "HTTPS_PROXY": network.url,
        "SSL_CERT_FILE": str(secure.tls.certificate),
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
    }
    return Program(kept, tmp_path)


def refused(done: tuple[int, str], *secrets: str) -> str:
    """The last that it says, which is ours."""
    code, text = done
    assert code == 1
    assert not [secret for secret in secrets if secret in text]
    told = text[text.lower().rindex("error: abfss://") :]
    assert "Traceback" not in told
    return told


def test_microsoft_entra_signs_in_with_nothing_set_but_the_accounts_name(
    program: Program, identity: Identity, network: Tunnel, secure: Azurite
) -> None:
    code, text = program.signed_in_by(identity).publish("entra")
    assert code == 0, text
    assert f"published abfss://{CONTAINER}/entra/raw/motor/month=2024-01" in text
    assert {"entra/raw/motor/month=2024-01/part-0.parquet",
            "entra/_reports/IngestFlow/one/motor.raw.json"} <= set(secure.blobs())  # fmt: skip
    assert set(identity.asked) == {AUDIENCE}
    assert set(network.asked) == {f"{HOST}:443"}
    assert "Authorization" in text, "requests are logged, and what is signed in with is left out"
    assert identity.token not in text
    assert identity.secret not in text


@pytest.mark.parametrize("sign_in", ["sas", "key"])
def test_a_signature_or_a_key_signs_in_over_tls(
    program: Program, secure: Azurite, sign_in: str
) -> None:
    given = {"sas": ("AZURE_STORAGE_SAS_TOKEN", secure.sas()),
             "key": ("AZURE_STORAGE_ACCOUNT_KEY", KEY)}  # fmt: skip
    variable, secret = given[sign_in]
    code, text = program.with_(**{variable: secret}).publish(sign_in)
    assert code == 0, text
    assert f"{sign_in}/raw/motor/month=2024-01/part-0.parquet" in secure.blobs()
    assert KEY not in text
    assert secret.rpartition("sig=")[2] not in text


@pytest.mark.parametrize(
    "wrong", [token(hours=-1), token(audience="https://vault.azure.net")], ids=["old", "of another"]
)
def test_a_token_that_the_account_does_not_take_says_what_to_do(
    program: Program, identity: Identity, secure: Azurite, wrong: str
) -> None:
    identity.token = wrong
    signed_in = program.signed_in_by(identity)
    for action in (signed_in.publish, signed_in.look):
        told = refused(action("refused"), wrong, identity.secret)
        assert "did not take the token of Microsoft Entra (AuthenticationFailed)" in told
        assert "az login" in told
    assert not [name for name in secure.blobs() if name.startswith("refused")]


def test_an_identity_that_does_not_answer_is_named_with_every_way_to_sign_in(
    program: Program, identity: Identity
) -> None:
    away = replace(identity, url="http://127.0.0.1:9/msi/token")
    told = refused(program.signed_in_by(away).look("away"), identity.secret)
    assert f"nobody is signed in to the account {ACCOUNT} (tried: " in told
    assert "ManagedIdentityCredential" in told
    assert "AZURE_STORAGE_ACCOUNT_KEY" in told


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        ("AuthorizationPermissionMismatch", "the role Storage Blob Data Contributor assigned on"),
        ("AuthorizationFailure", r"network rules \(firewall, private endpoint\)"),
    ],
)
def test_somebody_signed_in_who_may_not_write_reads_what_is_lacking(
    program: Program, identity: Identity, secure: Azurite, code: str, mend: str
) -> None:
    """Azurite lets everybody in; so this account is one that lets nobody."""
    assert secure.tls is not None
    with refusing(code, secure.tls) as account, tunnel(account) as network:
        elsewhere = program.signed_in_by(identity).with_(HTTPS_PROXY=network.url)
        told = refused(elsewhere.publish("x"), identity.token)
    assert re.search(mend, told)
    assert ACCOUNT in told


def test_a_certificate_that_nobody_vouches_for_is_not_asked_twice(
    program: Program, identity: Identity, network: Tunnel, tmp_path: Path
) -> None:
    of_another = certificate(tmp_path).certificate
    before = len(network.asked)
    distrusting = program.signed_in_by(identity).with_(SSL_CERT_FILE=str(of_another))
    told = refused(distrusting.look("x"), identity.token)
    assert f"does not trust the certificate of https://{HOST}" in told
    assert "SSL_CERT_FILE" in told
    assert len(network.asked) == before + 1


@pytest.mark.flow
def test_a_flow_leaves_everything_in_the_account_its_artifacts_and_cards_too(
    program: Program, identity: Identity, secure: Azurite, tmp_path: Path
) -> None:
    """Claims to champion; Metaflow's datastore is on Azure too, and signs in by the same."""
    (tmp_path / "candidates.yaml").write_text(CANDIDATE)
    root = f"abfss://{CONTAINER}/whole"
    computer = program.signed_in_by(identity).with_(
        LAKEHOUSE_URI=root,
        METAFLOW_HOME=str(tmp_path),
        METAFLOW_DEFAULT_DATASTORE="azure",
        METAFLOW_DATASTORE_SYSROOT_AZURE=f"{CONTAINER}/metaflow",
        METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT=f"https://{HOST}/",
        REQUESTS_CA_BUNDLE=program.environment["SSL_CERT_FILE"],
    )
    code, text = computer.run(
        str(FLOW), "run", "--sample-size", "3000", "--seed", "7",
        "--candidates-file", str(tmp_path / "candidates.yaml"), "--launch-id", "one",
    )  # fmt: skip
    assert code == 0, text
    assert identity.token not in text

    dataset = ("--dataset", "synthetic_claims")
    for command in (("lake", "verify", *dataset), ("models", "verify", *dataset)):
        code, told = computer.tool(*command)
        assert code == 0, told
    code, told = computer.tool("summary", *dataset)
    assert "champion" in told
    blobs = secure.blobs()
    for asset in ("raw_zone", "model_artifact", "ml_outputs", "metrics"):
        assert any(f"/_reports/FraudDetectionFlow/one/synthetic_claims.{asset}" in b for b in blobs)
    assert any(b.startswith("metaflow/") and b.endswith(".html") for b in blobs), "cards"
    assert not (tmp_path / "lakehouse").exists()
    assert not (tmp_path / ".metaflow" / "FraudDetectionFlow" / "data").exists()

"""What is said when S3 lets one not in: no credentials, old ones, no leave, no bucket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fault_proxy import Fault, Proxy, gets, puts
from store_servers import AWS, CONTAINER

from fraud_mlops.errors import LakehouseError, StoreError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import read_bytes, write_bytes


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"s3://{CONTAINER}/{tmp_path.name}/x.json"


def test_without_credentials_it_says_how_one_gives_them(
    failing_s3: Proxy, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At an endpoint that no client has signed in to yet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StoreError, match="there are no AWS credentials; set AWS_PROFILE"):
        read_bytes(uri)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"AWS_PROFILE": "nope"}, r"profile \(nope\) could not be found; see AWS_PROFILE"),
        ({"AWS_DEFAULT_REGION": "not a region"}, "'not a region' doesn't match"),
        (
            {"AWS_ENDPOINT_URL": "127.0.0.1:5977"},
            "AWS_ENDPOINT_URL is no address.*http://HOST:PORT",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://me:s3cret-key@127.0.0.1:9"},
            "AWS_ENDPOINT_URL holds a login",
        ),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "missing: AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_settings_of_aws_that_are_nonsense_are_told(variables: dict[str, str], told: str) -> None:
    """In a process of its own: clients keep what they have once read."""
    base = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "AKIDNOTSECRET", "AWS_SECRET_ACCESS_KEY": "s3cret-key"}
    more = {"AWS_EC2_METADATA_DISABLED": "true", "FRAUD_STORE_RETRIES": "0"}
    environment = {n: v for n, v in (base | keys | more | variables).items() if v}
    command = [sys.executable, "-m", "fraud_mlops.cli", "lake", "list"]
    done = subprocess.run(
        [*command, "--output-uri", "s3://bucket/lake"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search(told, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret-key" not in done.stderr


@pytest.mark.parametrize(
    ("code", "told", "mend"),
    [
        ("ExpiredToken", r"the AWS session has expired \(ExpiredToken\); sign in", "aws sso login"),
        ("AccessDenied", r"access was refused \(AccessDenied\).*needs s3:GetObject",
         "aws sts get-caller-identity    # who needs leave on lake"),
        ("RequestTimeTooSkewed", r"this machine's clock is a quarter of an hour off",
         "sudo timedatectl set-ntp true"),
        ("InvalidAccessKeyId", r"access was refused \(InvalidAccessKeyId\)", "aws configure "),
        ("SignatureDoesNotMatch", r"access was refused \(SignatureDoesN", "aws configure "),
    ],
)  # fmt: skip
def test_who_is_refused_reads_why_at_once_and_what_mends_it(
    failing_s3: Proxy, uri: str, code: str, told: str, mend: str
) -> None:
    failing_s3.faults = [Fault("refused", 99, code=code)]
    for action in (read_bytes, lambda uri: write_bytes(uri, b"1")):
        failing_s3.requests.clear()
        with pytest.raises(StoreError, match=told) as said:
            action(uri)
        assert uri in str(said.value)
        assert str(said.value.mend).startswith(mend)
        assert AWS["AWS_SECRET_ACCESS_KEY"] not in str(said.value)
        assert len(failing_s3.requests) == 1, "a second try makes nothing better"


def test_who_may_only_read_leaves_what_was_there(failing_s3: Proxy, uri: str) -> None:
    write_bytes(uri, b"old")
    failing_s3.faults = [Fault("refused", 99, puts)]
    with pytest.raises(StoreError, match=r"access was refused.*s3:PutObject"):
        write_bytes(uri, b"new")
    assert read_bytes(uri) == b"old"
    failing_s3.faults = [Fault("refused", 99, gets)]
    with pytest.raises(StoreError, match="access was refused"):
        Lakehouse(uri.removesuffix("/x.json")).partitions("raw", "motor")


def test_a_bucket_that_is_not_there_says_who_makes_it(use_s3: str) -> None:
    lake = Lakehouse("s3://nowhere/lakehouse")
    for action in (
        lambda: write_bytes("s3://nowhere/lakehouse/x.json", b"1"),
        lambda: lake.partitions("raw", "motor"),
    ):
        with pytest.raises(
            StoreError, match=r"there is no bucket 'nowhere'.*aws s3 mb s3://nowhere"
        ) as said:
            action()
        assert str(said.value.mend).startswith("aws s3 mb s3://nowhere ")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3:///lakehouse/x.json", r"s3:///lakehouse/x.json: names no bucket; write s3://<bucket>"),
        ("s3://Fraud-Lake/x.json", r"'Fraud-Lake' is no name of a bucket.*in lower case"),
        ("s3://my lake/x.json", "'my lake' is no name of a bucket"),
        ("s3://l/x.json", "'l' is no name of a bucket: 3 to 63"),
    ],
)
def test_what_is_no_bucket_is_refused_before_anybody_is_asked(uri: str, told: str) -> None:
    for action in (read_bytes, lambda uri: write_bytes(uri, b"1")):
        with pytest.raises(LakehouseError, match=told):
            action(uri)

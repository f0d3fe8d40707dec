"""`fraud-mlops doctor` and services: refused, out of reach, half set up, well."""

from __future__ import annotations

import builtins
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)
from store_servers import AWS, KEY, Azurite, adls_uri, azurite, s3_server
from web_page import Page, served
from workspace_server import TOKEN, LocalWorkspace, local_workspace

from fraud_mlops.doctor import clouds
from fraud_mlops.doctor.examine import ask, examine, services
from fraud_mlops.doctor.finding import Finding
from fraud_mlops.doctor.services import CLIENTS, look
from fraud_mlops.settings import settings

Set = Callable[..., None]
WRONG_KEY = KEY[:-8] + "AAAAAAA="


def one(name: str, seconds: float = 30) -> Finding:
    [found] = ask(name, seconds)
    assert found.mend is None or found.status != "ok"
    return found


@pytest.fixture(scope="module")
def blob_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture
def closed() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield int(listening.getsockname()[1])


def test_a_store_that_takes_the_key_is_left_as_it_was(shell: Set, blob_service: Azurite) -> None:
    uri = adls_uri("doctor")
    shell(LAKEHOUSE_URI=uri, AZURE_STORAGE_CONNECTION_STRING=blob_service.connection())
    assert {"lakehouse", "clock of the store"} <= set(services(settings()))
    assert one("lakehouse").says == f"{uri}: listed, written and read"
    assert [name for name in blob_service.blobs() if "doctor" in name] == []
    assert one("clock of the store").status == "ok"


def test_a_store_that_refuses_the_key(shell: Set, blob_service: Azurite) -> None:
    wrong = blob_service.connection().replace(KEY, WRONG_KEY)
    shell(LAKEHOUSE_URI=adls_uri("doctor"), AZURE_STORAGE_CONNECTION_STRING=wrong)
    found = one("lakehouse")
    assert found.status == "wrong"
    assert "the connection string was refused" in found.says
    assert found.mend == (
        "az storage account keys list --account-name lakeaccount -o table    "
        "# AZURE_STORAGE_CONNECTION_STRING"
    )
    assert WRONG_KEY not in found.model_dump_json()


def test_the_store_says_what_mends_it(shell: Set, blob_service: Azurite, closed: int) -> None:
    shell(AZURE_STORAGE_CONNECTION_STRING=blob_service.connection())
    shell(LAKEHOUSE_URI="abfss://nowhere@lakeaccount.dfs.core.windows.net/lakehouse")
    assert one("lakehouse").mend.startswith(
        "az storage container create --account-name lakeaccount --name nowhere"
    )
    shell(LAKEHOUSE_URI="s3://lake/x", AWS_ENDPOINT_URL=f"http://127.0.0.1:{closed}", **AWS)
    assert one("lakehouse").mend.startswith(f"curl --max-time 10 http://127.0.0.1:{closed} ")


def test_a_malformed_key_is_told_once_and_not_shown(shell: Set) -> None:
    shell(LAKEHOUSE_URI=adls_uri("doctor"), **{"AZURE_STORAGE_ACCOUNT_KEY": "s3cr3t-w0rd"})
    found = one("lakehouse")
    assert (found.status, "AZURE_STORAGE_ACCOUNT_KEY is no" in found.says) == ("wrong", True)
    assert "s3cr3t-w0rd" not in found.model_dump_json()
    assert ask("clock of the store", 30) == []


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (EndpointConnectionError(endpoint_url="https://sts.eu-central-1.amazonaws.com/?x=1"),
         "curl --max-time 10 https://sts.eu-central-1.amazonaws.com "),
        (NoCredentialsError(), "aws configure "),
        (NoRegionError(), "export AWS_DEFAULT_REGION="),
        (ProfileNotFound(profile="x"), "aws configure list-profiles"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "GetCallerIdentity"), "aws sso login"),
        (ClientError({"Error": {"Code": "InvalidClientTokenId"}}, "GetCallerIdentity"),
         "aws configure "),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeJobQueues"),
         "aws sts get-caller-identity    # whose policy lacks"),
    ],
)  # fmt: skip
def test_what_mends_a_sign_in_to_aws_belongs_to_the_cause(error: Exception, mend: str) -> None:
    assert clouds.mend_aws(error).startswith(mend)


def test_a_store_out_of_reach_is_told_in_seconds(shell: Set, closed: int) -> None:
    place = (
        f"BlobEndpoint=http://127.0.0.1:{closed}/lakeaccount;SharedAccessSignature=sig=s3cr3tw0rd"
    )
    shell(LAKEHOUSE_URI=adls_uri("doctor"), AZURE_STORAGE_CONNECTION_STRING=place)
    found = one("lakehouse")
    assert found.status == "wrong"
    assert "cannot be reached" in found.says
    assert found.mend.startswith(f"curl --max-time 10 http://127.0.0.1:{closed}/lakeaccount ")
    assert "s3cr3tw0rd" not in found.model_dump_json()
    assert ask("clock of the store", 30) == []  # said once


def test_who_never_answers_is_not_waited_for(shell: Set, silent: int) -> None:
    shell(METAFLOW_SERVICE_URL=f"http://127.0.0.1:{silent}")
    assert one("Metaflow's service", seconds=1).says.startswith("no answer within 1 s")


def test_a_dagster_that_is_not_there(shell: Set, closed: int) -> None:
    shell(DAGSTER_WEBSERVER_URL=f"http://127.0.0.1:{closed}")
    assert services(settings())[-1] == "Dagster"
    found = one("Dagster")
    assert "does not answer" in found.says
    assert found.mend == "make ui"


class Dagster(Page):
    """Behind a proxy that has a login page, and lets in who has the token."""

    text = b'{"dagster_version": "1.13.27"}'

    def do_GET(self) -> None:  # noqa: N802 - as http.server calls it
        if self.path == "/login":
            self.text = b"<h1>Who are you?</h1>"
        elif self.headers["Authorization"] != "Bearer of-the-proxy":
            self.send_response(302)
            self.send_header("Location", "/login")
            self.end_headers()
            return
        super().do_GET()


def test_a_login_page_is_no_dagster(shell: Set) -> None:
    with served(Dagster) as port:
        url = f"http://127.0.0.1:{port}"
        shell(DAGSTER_WEBSERVER_URL=url)
        found = one("Dagster")
        assert found.says == f"{url} wants to know who asks: 302, to /login"
        assert found.mend == "export DAGSTER_WEBSERVER_TOKEN=..."
        shell(**{"DAGSTER_WEBSERVER_URL": url, "DAGSTER_WEBSERVER_TOKEN": "of-the-proxy"})
        assert one("Dagster").status == "ok"


def test_a_program_of_somebody_else_is_no_dagster(shell: Set) -> None:
    with served(Page) as port:
        shell(DAGSTER_WEBSERVER_URL=f"http://127.0.0.1:{port}")
        assert one("Dagster").says.endswith("answers, and is something else")


class Metaflow(Page):
    """Lets in who has the key."""

    text = b"pong"

    def do_GET(self) -> None:  # noqa: N802 - as http.server calls it
        if self.headers["x-api-key"] == "of-the-service":
            super().do_GET()
        else:
            self.send_error(403)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, "wrong"),
        ({"METAFLOW_SERVICE_AUTH_KEY": "of-the-service"}, "ok"),
        ({"METAFLOW_SERVICE_HEADERS": '{"x-api-key": "of-the-service"}'}, "ok"),
        ({"METAFLOW_SERVICE_HEADERS": "x-api-key=of-the-service"}, "wrong"),
    ],
)
def test_metaflows_service_is_asked_with_what_metaflow_sends(
    shell: Set, given: dict[str, str], status: str
) -> None:
    with served(Metaflow) as port:
        shell(METAFLOW_SERVICE_URL=f"http://127.0.0.1:{port}", **given)
        found = one("Metaflow's service")
    assert found.status == status
    if not given:
        assert found.mend == "export METAFLOW_SERVICE_AUTH_KEY=..."


def test_a_snowflake_set_up_by_half_names_the_rest(shell: Set) -> None:
    shell(**{"SNOWFLAKE_ACCOUNT": "myorg-account", "SNOWFLAKE_PASSWORD": "s3cret-w0rd"})
    assert "warehouse" in services(settings())
    found = one("warehouse")
    assert found.status == "wrong"
    for name in ("USER", "WAREHOUSE", "DATABASE", "SCHEMA"):
        assert f"SNOWFLAKE_{name} is not set" in found.says
        assert f"SNOWFLAKE_{name}=..." in found.mend
    assert "s3cret-w0rd" not in found.model_dump_json()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    with local_workspace(tmp_path_factory.mktemp("workspace"), Path(sys.executable)) as made:
        yield made


def test_a_databricks_that_takes_the_token_and_one_that_does_not(
    shell: Set, workspace: LocalWorkspace
) -> None:
    shell(DATABRICKS_HOST=workspace.url, DATABRICKS_TOKEN=TOKEN)
    found = one("Databricks")
    assert (found.status, "signed in by pat" in found.says) == ("ok", True), found
    shell(**{"DATABRICKS_TOKEN": "dapi-of-last-year-4711"})
    found = one("Databricks")
    assert found.status == "wrong"
    assert found.mend.endswith("# or a new DATABRICKS_TOKEN")
    assert "4711" not in found.model_dump_json()


@pytest.mark.parametrize(
    ("host", "says", "mend"),
    [
        ("https://nowhere.invalid", "there is no such host", "export DATABRICKS_HOST="),
        ("https://", "is no address of a workspace", "export DATABRICKS_HOST="),
        ("http://127.0.0.1:{closed}", "does not answer", "curl --max-time 10 $DATABRICKS_HOST"),
    ],
)
def test_a_databricks_that_is_not_there_is_told_by_the_cause(
    shell: Set, closed: int, host: str, says: str, mend: str
) -> None:
    shell(DATABRICKS_HOST=host.format(closed=closed), DATABRICKS_TOKEN=TOKEN)
    [found] = clouds.databricks(settings())
    assert (found.status, says in found.says) == ("wrong", True), found
    assert found.mend is not None
    assert found.mend.startswith(mend)


@pytest.mark.parametrize(
    ("kind", "said", "mend"),
    [
        (
            "ValueError",
            "default auth: cannot configure default credentials",
            "or export DATABRICKS_",
        ),
        ("Unauthenticated", "The access token has expired", "or a new DATABRICKS_TOKEN"),
        ("PermissionDenied", "Invalid access token.", "or a new DATABRICKS_TOKEN"),
        ("PermissionDenied", "Source IP address: 1.2.3.4 is blocked", "databricks ip-access-lists"),
        ("PermissionDenied", "User does not have permission", "databricks current-user me"),
        ("NotFound", "Not found", "this one is no workspace"),
        ("TimeoutError", "Timed out after 0:00:05", "curl --max-time 10 $DATABRICKS_HOST"),
    ],
)
def test_what_mends_a_sign_in_to_databricks_belongs_to_the_cause(
    kind: str, said: str, mend: str
) -> None:
    from databricks.sdk import errors

    error = getattr(errors, kind, None) or getattr(builtins, kind)
    assert mend in clouds.mend_databricks(error(said))


def test_the_repository_that_databricks_clones(shell: Set, tmp_path: Path) -> None:
    shell(DATABRICKS_GIT_URL=(tmp_path / "nowhere").as_uri(), DATABRICKS_GIT_BRANCH="main")
    assert "Databricks' Git" in services(settings())
    assert one("Databricks' Git").status == "warning"


def test_a_repository_that_never_answers_is_not_waited_for(
    shell: Set, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clouds, "SECONDS", 1.0)
    shell(DATABRICKS_GIT_URL=f"http://127.0.0.1:{silent}/repository")
    [found] = clouds.git(settings())
    assert (found.status, "no answer within 1 s" in found.says) == ("warning", True)
    commands = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    assert not [one for one in commands if str(silent) in one]  # git's helpers have ended too


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_that_is_not_installed_is_told_with_its_extra(
    shell: Set, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, extra = CLIENTS[name]
    monkeypatch.setitem(CLIENTS, name, ("no-such-client", extra))
    [found] = look(name)
    assert (found.name, found.status) == (name, "wrong")
    assert "no-such-client is not installed" in found.says
    assert found.mend == f"pip install 'fraud-mlops[{extra}]'"


def test_aws_says_who_one_is_and_misses_the_queue(shell: Set) -> None:
    with s3_server() as url:
        shell(**AWS, AWS_ENDPOINT_URL=url, METAFLOW_BATCH_JOB_QUEUE="fraud")
        assert "AWS" in services(settings())
        identity, queue, variables = ask("AWS", 30)
    assert identity.says.startswith("signed in as arn:aws:")
    assert queue.says == "there is no job queue fraud"
    assert "infra/aws/stack.yaml" in queue.mend
    assert "METAFLOW_DATASTORE_SYSROOT_S3" in variables.says


def test_addresses_of_notifications_are_read_and_nobody_is_told(shell: Set, closed: int) -> None:
    shell(FRAUD_NOTIFY_URLS=f"json://user:pa55word@127.0.0.1:{closed}/hook")
    found = one("notifications")
    assert found.status == "ok"
    shell(FRAUD_NOTIFY_URLS="nonsense://pa55word")
    found = one("notifications")
    assert (found.status, "address 1 of FRAUD_NOTIFY_URLS" in found.says) == ("wrong", True)
    assert "pa55word" not in found.model_dump_json()


def test_everything_wrong_at_once_shows_no_secret(shell: Set, closed: int) -> None:
    secrets = {
        "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint=http://127.0.0.1:{closed}/lakeaccount;"
        "SharedAccessSignature=sig=mark0001",
        "SNOWFLAKE_PASSWORD": "mark0002",
        "DATABRICKS_TOKEN": "mark0003",
        "DAGSTER_POSTGRES_PASSWORD": "mark0004",
        "FRAUD_NOTIFY_URLS": "json://user:mark0005@127.0.0.1/mark0006hook",
    }
    shell(
        LAKEHOUSE_URI=adls_uri("doctor"),
        SNOWFLAKE_ACCOUNT="a-b",
        DATABRICKS_HOST=f"http://127.0.0.1:{closed}",
        DAGSTER_POSTGRES_URL=f"postgresql://dagster:mark0007@127.0.0.1:{closed}/dagster",
        DATABRICKS_GIT_URL=f"http://user:mark0008@127.0.0.1:{closed}/repository",
        **secrets,
    )
    found = list(examine(30))
    named = {one.name: one.status for one in found}
    for name in ("lakehouse", "warehouse", "Databricks", "Dagster's PostgreSQL"):
        assert named[name] == "wrong", found
    assert "mark000" not in "".join(one.model_dump_json() for one in found)
    assert os.environ["SNOWFLAKE_PASSWORD"] == "mark0002"  # noqa: S105

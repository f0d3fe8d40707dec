"""Databricks and AWS: who one is there, and what runs need of them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fraud_mlops.doctor.finding import Finding, ok, warning, wrong
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.settings import Settings

SECONDS = 5.0
"""Of one request; a service may take several."""

_AWS_MENDS: dict[tuple[str, ...], str] = {
    ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError"):
        "curl --max-time 10 {place}    # who answers, from this machine?",
    ("SSLError",): "export AWS_CA_BUNDLE=/path/of/the/authority.pem",
    ("NoRegionError",): "export AWS_DEFAULT_REGION=...",
    ("ProfileNotFound",): "aws configure list-profiles    # of which AWS_PROFILE names one",
    ("NoCredentialsError", "PartialCredentialsError"):
        "aws configure    # or aws sso login, and export AWS_PROFILE=...",
    ("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "ExpiredToken",
     "ExpiredTokenException"): "aws sso login    # or a new AWS_SESSION_TOKEN with its two keys",
    ("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"):
        "sudo timedatectl set-ntp true",
    ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
     "AuthFailure", "IncompleteSignature"): "aws configure    # the keys anew",
    ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        "aws sts get-caller-identity    # whose policy lacks what is refused; docs/aws.md",
}  # fmt: skip
"""By the name of the client's error, or by the code of the answer."""

_WHO_ANSWERS = "curl --max-time 10 $DATABRICKS_HOST    # who answers? Firewall, proxy, private link"


def databricks(given: Settings) -> Iterator[Finding]:
    name = "Databricks"
    host = os.environ["DATABRICKS_HOST"]
    if unreached := _unreached(host):
        says, mend = unreached
        yield wrong(name, f"DATABRICKS_HOST={host}: {says}", mend)
        return
    yield _signed_in(name, host)
    if is_local(given.lakehouse_uri) and "127.0.0.1" not in host:
        says = f"LAKEHOUSE_URI={given.lakehouse_uri} is a folder that Databricks does not reach"
        mend = "export LAKEHOUSE_URI=abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/lakehouse"
        yield wrong("Databricks' store", says, mend)


def _unreached(url: str) -> tuple[str, str] | None:
    """What is said, and what mends it; None for a host that answers. Asked before the SDK is, which
    tries for long."""
    import requests

    host = "export DATABRICKS_HOST=https://...    # as the browser shows the workspace's"
    try:
        requests.head(url if "://" in url else f"https://{url}", timeout=SECONDS)
    except requests.exceptions.SSLError:
        says = "this machine does not trust its certificate"
        return says, "export REQUESTS_CA_BUNDLE=/path/of/the/authority.pem"
    except requests.ConnectionError as error:
        if "NameResolutionError" in str(error):
            return "there is no such host, or no DNS that knows it", host
        return "does not answer", _WHO_ANSWERS
    except requests.Timeout:
        return f"does not answer within {SECONDS:g} s", _WHO_ANSWERS
    except requests.RequestException:
        return "is no address of a workspace", host
    return None


def _signed_in(name: str, host: str) -> Finding:
    """Asks for what a run needs: leave to list runs."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    try:
        config = Config(http_timeout_seconds=SECONDS, retry_timeout_seconds=int(SECONDS))
        next(iter(WorkspaceClient(config=config).jobs.list_runs(limit=1)), None)
    except Exception as error:  # whatever the SDK raises, it is the finding
        return wrong(name, f"{host}: {error}", mend_databricks(error))
    return ok(name, f"{config.host}: signed in by {config.auth_type}, runs may be listed")


def mend_databricks(error: Exception) -> str:
    """The command for what the SDK or an answer of a workspace says."""
    from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated
    from databricks.sdk.errors.base import DatabricksError

    said = str(error).lower()
    if isinstance(error, ValueError) and "credentials" in said:  # none were found
        return "databricks auth login --host $DATABRICKS_HOST    # or export DATABRICKS_TOKEN=..."
    if isinstance(error, Unauthenticated) or (
        isinstance(error, PermissionDenied) and "token" in said  # as a workspace on Azure says it
    ):
        return "databricks auth login --host $DATABRICKS_HOST    # or a new DATABRICKS_TOKEN"
    if isinstance(error, PermissionDenied) and "ip" in said.split():
        return "databricks ip-access-lists list    # as an administrator: this address is kept out"
    if isinstance(error, PermissionDenied):
        return "databricks current-user me    # who needs workspace access, and leave to run jobs"
    if isinstance(error, NotFound) or "unable to parse response" in said:
        return "export DATABRICKS_HOST=https://...    # this one is no workspace"
    if not isinstance(error, DatabricksError):  # on the way
        return _WHO_ANSWERS
    return "databricks jobs list-runs --limit 1"


def git(_: Settings) -> Iterator[Finding]:
    """What Databricks clones. A repository may be hidden from here and not from there."""
    url, name = os.environ["DATABRICKS_GIT_URL"], "Databricks' Git"
    branch = os.environ.get("DATABRICKS_GIT_BRANCH")
    try:
        code, heads, refused = _heads(url, branch)
    except subprocess.TimeoutExpired:
        code, heads, refused = 1, "", f"no answer within {SECONDS:g} s"
    if code:
        says = f"{url} cannot be seen from here: {refused.strip()}"
        yield warning(name, says, "git ls-remote $DATABRICKS_GIT_URL")
    elif branch and not heads.strip():
        yield wrong(name, f"{url} has no branch {branch}", f"git push origin {branch}")
    else:
        yield ok(name, f"{url} {branch or ''}".rstrip())


def _heads(url: str, branch: str | None) -> tuple[int, str, str]:
    """git's exit code, the branches, and what it complains of. Raises subprocess.TimeoutExpired,
    and then has ended git with its helpers, which do not end by themselves."""
    command = ["git", "ls-remote", "--heads", url, *([branch] if branch else [])]
    unasked = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    with subprocess.Popen(  # noqa: S603 - an address of the user's own
        command,
        env=os.environ | unasked,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            heads, refused = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, heads, refused


def aws(_: Settings) -> Iterator[Finding]:
    """Who one is there, and the queue that steps go to."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    name = "AWS"
    config = Config(
        connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1}
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        session = boto3.Session(region_name=region)
        found = session.client("sts", config=config).get_caller_identity()
        yield ok(name, f"signed in as {found['Arn']}")
        yield from _queue(session.client("batch", config=config))
    except (BotoCoreError, ClientError) as error:
        yield wrong(name, str(error), mend_aws(error))


def mend_aws(error: Exception) -> str:
    """The command for what AWS's client or an answer of AWS's says."""
    from fraud_mlops.lakehouse.s3_errors import place_of

    kind, code = type(error).__name__, ""
    if isinstance(answer := getattr(error, "response", None), dict):
        code = str(answer.get("Error", {}).get("Code", ""))
    for names, command in _AWS_MENDS.items():
        if kind in names or code in names:
            return command.format(place=place_of(error, otherwise="https://sts.amazonaws.com"))
    return "aws sts get-caller-identity"


def _queue(batch: Any) -> Iterator[Finding]:
    queue = os.environ.get("METAFLOW_BATCH_JOB_QUEUE")
    if not queue:
        return
    found = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    mend = "aws cloudformation deploy --stack-name fraud-mlops --template-file infra/aws/stack.yaml"
    if not found:
        yield wrong("AWS Batch", f"there is no job queue {queue}", mend)
    elif (found[0]["state"], found[0]["status"]) != ("ENABLED", "VALID"):
        says = f"{queue} is {found[0]['state']}, {found[0]['status']}"
        yield wrong(
            "AWS Batch", says, f"aws batch update-job-queue --job-queue {queue} --state ENABLED"
        )
    else:
        yield ok("AWS Batch", f"{queue} takes jobs")
    missing = [
        variable
        for variable in ("METAFLOW_DATASTORE_SYSROOT_S3", "METAFLOW_ECS_S3_ACCESS_IAM_ROLE")
        if not os.environ.get(variable) and not _metaflow_configured()
    ]
    if missing:
        yield wrong("Metaflow on AWS", f"not set: {', '.join(missing)}", "metaflow configure aws")


def _metaflow_configured() -> bool:
    home = Path(os.environ.get("METAFLOW_HOME", "~/.metaflowconfig")).expanduser()
    return any(home.glob("config*.json"))

"""Services that the settings name: present, reached, and taken the credentials of.

    python -m fraud_mlops.doctor.services NAME

prints what was found as JSON lines. Each service is asked in such a process, since clients of
clouds look for credentials for as long as they like; `examine` ends those that take too long.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime

from fraud_mlops.doctor.clouds import SECONDS, aws, databricks, git
from fraud_mlops.doctor.finding import Finding, ok, warning, without_secrets, wrong
from fraud_mlops.doctor.machine import installed
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.settings import Settings, settings

_PRINT_SCHEMA = "python scripts/sync_metrics_to_snowflake.py --print-schema"
MOST_SKEW, NOTABLE_SKEW = 900.0, 300.0
"""Seconds. Azure and AWS refuse signatures that are a quarter of an hour off."""


def store(name: str, uri: str) -> Iterator[Finding]:
    """Lists, writes a small object, and removes it."""
    from fraud_mlops.lakehouse.addresses import require_root
    from fraud_mlops.lakehouse.stores import delete, join, list_children, read_bytes, write_bytes

    probe = join(uri, "_doctor", f"{uuid.uuid4().hex}.txt")
    try:
        require_root(uri)
        list_children(uri)
        write_bytes(probe, b"fraud-mlops doctor")
        read_bytes(probe)
        delete(probe)
    except (FraudMlopsError, OSError) as error:
        yield wrong(name, str(error), _mend_store(uri, error))
        return
    yield ok(name, f"{uri}: listed, written and read")


def _mend_store(uri: str, error: Exception) -> str | None:
    """The command that belongs to the cause, which who found the cause knows."""
    if "pip install" in str(error):
        return f"pip install 'fraud-mlops[{'aws' if uri.startswith('s3') else 'azure'}]'"
    return getattr(error, "mend", None)


def snowflake(given: Settings) -> Iterator[Finding]:
    """Signed in, and what a sync would find there: tables, their columns, views."""
    from dataclasses import replace

    from fraud_mlops.warehouse.columns_drift import check_columns
    from fraud_mlops.warehouse.options import SnowflakeOptions
    from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse
    from fraud_mlops.warehouse.views import told_of_views

    name = "warehouse"
    try:
        options = SnowflakeOptions.of(given)
        if options is None:
            return
        soon = replace(options, network_seconds=int(SECONDS), login_seconds=int(SECONDS))
        warehouse = SnowflakeWarehouse(soon)
        with warehouse.session() as session:
            check_columns(session, warehouse)
            views = told_of_views(session, warehouse)
    except FraudMlopsError as error:
        yield wrong(name, str(error), error.mend or _mend_snowflake(str(error)))
        return
    if views:
        yield warning(name, f"{warehouse.address}: {views}", _mend_snowflake(views))
    else:
        yield ok(name, f"{warehouse.address}: signed in; tables and views are as a sync needs them")


def _mend_snowflake(said: str) -> str | None:
    """Where the error itself says what to do, nothing is added."""
    if "not installed" in said:
        return "pip install 'fraud-mlops[snowflake]'"
    if _PRINT_SCHEMA in said:
        return _PRINT_SCHEMA
    missing = re.findall(r"(SNOWFLAKE_\w+) is not set", said)
    return f"export {' '.join(f'{name}=...' for name in missing)}" if missing else None


def postgres(_: Settings) -> Iterator[Finding]:
    """Dagster's history."""
    import psycopg2

    name = "Dagster's PostgreSQL"
    url = os.environ["DAGSTER_POSTGRES_URL"]
    password = os.environ.get("DAGSTER_POSTGRES_PASSWORD")
    try:
        psycopg2.connect(url, password=password, connect_timeout=int(SECONDS)).close()
    except psycopg2.Error as error:
        mend = 'PGPASSWORD="$DAGSTER_POSTGRES_PASSWORD" psql "$DAGSTER_POSTGRES_URL" -c "select 1"'
        yield wrong(name, str(error), mend)
    else:
        yield ok(name, "signed in")


def dagster(_: Settings) -> Iterator[Finding]:
    token = os.environ.get("DAGSTER_WEBSERVER_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    page, key = "DAGSTER_WEBSERVER_URL", "DAGSTER_WEBSERVER_TOKEN"
    yield _answers("Dagster", page, "/server_info", '"dagster_version"', headers, key, "make ui")


def metaflow(_: Settings) -> Iterator[Finding]:
    """Asked with what Metaflow itself sends."""
    name, key = "Metaflow's service", "METAFLOW_SERVICE_AUTH_KEY"
    mend = "unset METAFLOW_SERVICE_URL METAFLOW_DEFAULT_METADATA    # records stay in files"
    try:
        headers = dict(json.loads(os.environ.get("METAFLOW_SERVICE_HEADERS") or "{}"))
    except (ValueError, TypeError):
        says = "METAFLOW_SERVICE_HEADERS is no JSON of names and values"
        yield wrong(name, says, """export METAFLOW_SERVICE_HEADERS='{"x-api-key": "..."}'""")
        return
    if secret := os.environ.get(key):
        headers["x-api-key"] = secret
    yield _answers(name, "METAFLOW_SERVICE_URL", "/ping", "pong", headers, key, mend)


def _answers(
    name: str,
    variable: str,
    page: str,
    told: str,
    headers: Mapping[str, str],
    key: str,
    mend: str,
) -> Finding:
    """told: what stands in the page, and in no login's or anybody else's. key: the variable of what
    says who asks."""
    import requests

    url = os.environ[variable].rstrip("/")
    try:
        answer = requests.get(url + page, headers=headers, timeout=SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return wrong(name, f"{variable}={url} does not answer ({type(error).__name__})", mend)
    if answer.status_code in (401, 403) or answer.is_redirect:
        to = answer.headers.get("Location", "").partition("?")[0]
        how = f"{answer.status_code}{f', to {to}' if to else ''}"
        return wrong(name, f"{url} wants to know who asks: {how}", f"export {key}=...")
    if not answer.ok:
        return wrong(name, f"{url} answers {answer.status_code}", mend)
    if told not in answer.text:
        return wrong(name, f"{url} answers, and is something else", mend)
    return ok(name, f"{url} answers")


def clock(given: Settings) -> Iterator[Finding]:
    """Against the clock of a store: signatures are of a moment."""
    import time

    import requests

    try:
        url = _endpoint(given)
        told = requests.head(url, timeout=SECONDS).headers.get("Date")
        there = parsedate_to_datetime(str(told)).timestamp()
    except (FraudMlopsError, requests.RequestException, ValueError, TypeError):
        return  # what is wrong, or does not answer, is told of by the store's own finding
    skew = time.time() - there
    name, mend = "clock of the store", "sudo timedatectl set-ntp true"
    if abs(skew) >= MOST_SKEW:
        yield wrong(name, f"{skew:+.0f} s off the clock of {url}: signatures are refused", mend)
    elif abs(skew) >= NOTABLE_SKEW:
        says = f"{skew:+.0f} s off the clock of {url}; from 15 minutes on signatures are refused"
        yield warning(name, says, mend)
    else:
        yield ok(name, f"{skew:+.0f} s")


def _endpoint(given: Settings) -> str:
    if given.lakehouse_uri.startswith("s3"):
        named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return named or "https://s3.amazonaws.com"
    from fraud_mlops.lakehouse.azure_account import azure_account

    return azure_account(given.lakehouse_uri).url


def notifications(given: Settings) -> Iterator[Finding]:
    """Addresses are read, and nobody is told anything."""
    from fraud_mlops.notifications.delivery import channel_names

    name = "notifications"
    names = channel_names(given)
    if bad := [one for one in names if "none that apprise knows" in one]:
        mend = "https://github.com/caronc/apprise/wiki"
        yield wrong(name, "; ".join(bad).rstrip(","), mend)
    else:
        yield ok(name, ", ".join(names))


def device(given: Settings) -> Iterator[Finding]:
    import torch

    gpu = torch.cuda.is_available()
    apple = torch.backends.mps.is_available()
    wanted = given.device.partition(":")[0]
    if (wanted == "cuda" and not gpu) or (wanted == "mps" and not apple):
        says = f"FRAUD_DEVICE={given.device}, and PyTorch {torch.__version__} sees no such device"
        yield wrong("device", says, "export FRAUD_DEVICE=auto    # or a PyTorch build with CUDA")
    elif gpu:
        yield ok("device", f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}")
    else:
        yield ok("device", f"no GPU; networks train on the CPU, PyTorch {torch.__version__}")


def _lakehouse(given: Settings) -> Iterator[Finding]:
    return store("lakehouse", given.lakehouse_uri)


def _models(given: Settings) -> Iterator[Finding]:
    return store("models", str(given.model_uri))


SERVICES: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "lakehouse": _lakehouse,
    "models": _models,
    "clock of the store": clock,
    "warehouse": snowflake,
    "Databricks": databricks,
    "Databricks' Git": git,
    "AWS": aws,
    "Dagster's PostgreSQL": postgres,
    "Dagster": dagster,
    "Metaflow's service": metaflow,
    "notifications": notifications,
    "device": device,
}
CLIENTS = {
    "Databricks": ("databricks-sdk", "databricks"),
    "AWS": ("boto3", "aws"),
    "Dagster's PostgreSQL": ("dagster-postgres", "postgres"),
    "notifications": ("apprise", "notify"),
}
"""What a service is asked with, and the extra that has it. Some say so themselves."""


def look(name: str) -> Iterator[Finding]:
    package, extra = CLIENTS.get(name, ("", ""))
    if package and not installed(package):
        says = f"the settings ask for it, and {package} is not installed"
        yield wrong(name, says, f"pip install 'fraud-mlops[{extra}]'")
        return
    yield from SERVICES[name](settings())


def tell(findings: Iterable[Finding]) -> None:
    """As JSON lines, each as soon as it is there."""
    for finding in findings:
        print(without_secrets(finding).model_dump_json(), flush=True)


def main() -> int:
    [_, name] = sys.argv
    tell(look(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Everything that is looked at, in order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from fraud_mlops.doctor import machine, places
from fraud_mlops.doctor.clouds import SECONDS
from fraud_mlops.doctor.finding import Finding, without_secrets, wrong
from fraud_mlops.errors import SettingsError
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.settings import Settings, settings, variable

_AT_ONCE = 4
_IMPATIENT = {
    variable("store_retries"): "0",
    variable("store_timeout"): str(SECONDS),
}
_MODULES = {"API": "api.doctor"}
"""Those that are no affair of the domain's, and so look at themselves."""
_CONNECT = {
    "warehouse": "python scripts/sync_metrics_to_snowflake.py --check",
    "Databricks": "curl --max-time 10 $DATABRICKS_HOST",
    "AWS": "aws sts get-caller-identity",
}


def examine(seconds: float) -> Iterator[Finding]:
    """seconds: that a service may take, all of its requests together."""
    yield from map(without_secrets, _examine(seconds))


def _examine(seconds: float) -> Iterator[Finding]:
    yield from (machine.python(), machine.packages(), machine.clock())
    try:
        given = settings()
    except SettingsError as error:
        yield wrong("settings", str(error), "docs/settings.md")
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [pool.submit(ask, name, seconds) for name in services(given)]
        yield from (machine.cores(given), machine.memory(given))
        yield from _places(given)
        yield from (machine.port(number, use) for number, use in machine.PORTS.items())
        for answer in asked:
            yield from answer.result()
    yield from machine.programs()


def _places(given: Settings) -> Iterator[Finding]:
    looks: list[Callable[[], Finding | None]] = [
        lambda: places.lakehouse(given),
        lambda: places.models(given),
        places.metaflow_records,
        places.dagster_home,
    ]
    if not _snowflake(given):
        looks.append(lambda: places.warehouse_file(given))
    for look in looks:
        if (found := look()) is not None:
            yield found


def services(given: Settings) -> list[str]:
    """Names of those that the settings ask for."""
    known, remote = os.environ, not is_local(given.lakehouse_uri)
    batch = ("METAFLOW_BATCH_JOB_QUEUE", "METAFLOW_SFN_IAM_ROLE")
    wanted = {
        "device": machine.installed("torch"),
        "lakehouse": remote,
        "models": given.model_uri is not None and not is_local(given.model_uri),
        "clock of the store": remote,
        "warehouse": _snowflake(given),
        "Databricks": bool(known.get("DATABRICKS_HOST")),
        "Databricks' Git": bool(known.get("DATABRICKS_GIT_URL")),
        "AWS": any(known.get(name) for name in batch),
        "Dagster's PostgreSQL": bool(known.get("DAGSTER_POSTGRES_URL")),
        "Dagster": bool(known.get("DAGSTER_WEBSERVER_URL")),
        "Metaflow's service": bool(known.get("METAFLOW_SERVICE_URL")),
        "notifications": given.notify_urls is not None,
        "API": any(value and name.startswith("FRAUD_API_") for name, value in known.items()),
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _snowflake(given: Settings) -> bool:
    """As `SnowflakeOptions.of` sees it: any of what says where Snowflake is."""
    names = ("account", "user", "warehouse", "database", "schema", "role", "password")
    return any(getattr(given, f"snowflake_{name}") for name in (*names, "private_key_path"))


def ask(name: str, seconds: float) -> list[Finding]:
    """What a service has to say, by a process of its own that is ended when it takes too long."""
    module = _MODULES.get(name, "fraud_mlops.doctor.services")
    command = [sys.executable, "-m", module, name]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            env=os.environ | _IMPATIENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        says = f"no answer within {seconds:g} s: is the address right, and the network up?"
        return [wrong(name, says, _CONNECT.get(name))]
    try:
        found = [Finding.model_validate_json(line) for line in done.stdout.splitlines()]
    except ValidationError:
        found = []
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        found.append(wrong(name, last[0], _CONNECT.get(name)))
    return found

"""Folders of this machine that the settings name: space, and leave to write."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from fraud_mlops.doctor.finding import Finding, ok, warning, wrong
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.settings import Settings, variable

LEAST_FREE = 1 << 30
GOOD_FREE = 5 << 30
"""A year of 20,000 claims takes megabytes; ten million, with their features, some gigabytes."""


def folder(name: str, path: Path, set_by: str) -> Finding:
    """Whether files can be made in it, or in the nearest folder above it that is there."""
    there = next(p for p in (path, *path.parents) if p.exists())
    if not there.is_dir():
        return wrong(
            name, f"{there} is a file, where a folder should be", f"mv {there} {there}.old"
        )
    if refused := _cannot_write(there):
        user = os.environ.get("USER") or os.environ.get("LOGNAME") or "you"
        mend = f"sudo chown -R {user} {there}    # or set {set_by} to another folder"
        return wrong(name, f"{path}: nothing can be written there ({refused})", mend)
    free = shutil.disk_usage(there).free
    says = f"{path}: {free / 2**30:.1f} GiB free"
    mend = f"export {set_by}=/somewhere/with/space"
    if free < LEAST_FREE:
        return wrong(name, f"{says}, where 1 GiB is the least", mend)
    if free < GOOD_FREE:
        return warning(name, f"{says}; runs keep their artifacts, and they add up", mend)
    return ok(name, says)


def _cannot_write(path: Path) -> str | None:
    """Why, or None. Tried, since leave to write says nothing of a full or read-only disk."""
    probe = path / f".doctor-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"0" * 4096)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        probe.unlink(missing_ok=True)
    return None


def metaflow_records() -> Finding:
    root = "METAFLOW_DATASTORE_SYSROOT_LOCAL"
    return folder("Metaflow's records", Path(os.environ.get(root) or ".").absolute(), root)


def dagster_home() -> Finding:
    name, given = "DAGSTER_HOME", os.environ.get("DAGSTER_HOME")
    if not given:
        says = "not set: `make ui` uses ./.dagster, `dagster dev` forgets its history"
        return ok(name, says)
    path = Path(given)
    if not path.is_absolute():
        return wrong(name, f"{given} is not absolute", f"export DAGSTER_HOME={path.absolute()}")
    found = folder(name, path, name)
    if found.status == "wrong":
        return found
    if not (path / "dagster.yaml").exists():  # a link that leads nowhere does not count either
        says = f"{path} has no dagster.yaml: queue, pools and retention would be Dagster's own"
        return warning(name, says, f"mkdir -p {path} && ln -sf $PWD/dagster.yaml {path}/")
    return found


def warehouse_file(settings: Settings) -> Finding:
    """The DuckDB file, without Snowflake."""
    from fraud_mlops.warehouse.choice import file_of

    path = file_of(settings, settings.lakehouse_uri)
    found = folder("warehouse", path.parent, variable("warehouse_path"))
    if found.status == "wrong" or not path.exists():
        return found
    import duckdb

    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.Error as error:
        if "lock" in str(error):
            says, mend = f"another process has {path} open", "close what reads or writes it"
            return warning("warehouse", says, mend)
        mend = f"mv {path} {path}.old && python scripts/sync_metrics_to_snowflake.py --force"
        return wrong("warehouse", f"{path} is no DuckDB file: {error}", mend)
    return ok("warehouse", f"{path}, a DuckDB file")


def lakehouse(settings: Settings) -> Finding | None:
    """None where it is a store that a process of its own has to ask."""
    uri = settings.lakehouse_uri
    if not is_local(uri):
        return None
    return folder(
        "lakehouse",
        Path(uri.removeprefix("file://")).expanduser().absolute(),
        variable("lakehouse_uri"),
    )


def models(settings: Settings) -> Finding | None:
    uri = settings.model_uri
    if uri is None or not is_local(uri):
        return None
    return folder(
        "models", Path(uri.removeprefix("file://")).expanduser().absolute(), variable("model_uri")
    )

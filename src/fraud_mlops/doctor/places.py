"""Folders of this machine that the settings name: space, and leave to write."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from fraud_mlops.doctor.finding import Finding, ok, warning, wrong
from fraud_mlops.errors import FraudMlopsError, LakehouseError
from fraud_mlops.lakehouse.addresses import require_root
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.settings import Settings, variable

if TYPE_CHECKING:
    import duckdb

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
        why = refused.strerror or str(refused)
        mend = mend_folder(refused.errno, there, set_by)
        return wrong(name, f"{path}: nothing can be written there ({why})", mend)
    free = shutil.disk_usage(there).free
    says = f"{path}: {free / 2**30:.1f} GiB free"
    mend = f"export {set_by}=/somewhere/with/space"
    if free < LEAST_FREE:
        return wrong(name, f"{says}, where 1 GiB is the least", mend)
    if free < GOOD_FREE:
        return warning(name, f"{says}; runs keep their artifacts, and they add up", mend)
    return ok(name, says)


def mend_folder(number: int | None, folder: Path, set_by: str) -> str:
    """The command for an error's number: leave, space, or another place."""
    if number in (errno.EACCES, errno.EPERM):
        user = os.environ.get("USER") or os.environ.get("LOGNAME") or "you"
        return f"sudo chown -R {user} {folder}    # or set {set_by} to another folder"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"df -h {folder}    # make space, or set {set_by} to another folder"
    return f"export {set_by}=/somewhere/that/takes/files"


def _cannot_write(path: Path) -> OSError | None:
    """Why, or None. Tried, since leave to write says nothing of a full or read-only disk."""
    probe = path / f".doctor-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"0" * 4096)
    except OSError as error:
        return error
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


def warehouse_file(settings: Settings) -> Finding | None:
    """The DuckDB file, without Snowflake. None where the lakehouse that it is in can be none."""
    from fraud_mlops.warehouse.choice import file_of

    try:
        path = file_of(settings, settings.lakehouse_uri)
    except LakehouseError:
        return None
    set_by = variable("warehouse_path")
    if settings.warehouse_path is not None and not path.parent.exists():
        says = f"{set_by}: there is no folder {path.parent}, and no sync makes it"
        return wrong("warehouse", says, f"mkdir -p {path.parent}    # or correct {set_by}")
    found = folder("warehouse", path.parent, set_by)
    if found.status == "wrong" or not path.exists():
        return found
    import duckdb

    from fraud_mlops.warehouse.duckdb_engine import holder_of

    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            drifted = _drifted(connection, path, settings.snowflake_table)
    except duckdb.Error as error:
        if holder := holder_of(error):
            says = f"{holder} has {path} open, and a sync would wait for it"
            return warning("warehouse", says, f"fuser -v {path}    # close what has it open")
        mend = f"mv {path} {path}.old && python scripts/sync_metrics_to_snowflake.py --force"
        return wrong("warehouse", f"{path} is no DuckDB file: {error}", mend)
    if drifted:
        return wrong("warehouse", drifted)
    return ok("warehouse", f"{path}, a DuckDB file")


def _drifted(connection: duckdb.DuckDBPyConnection, path: Path, table: str) -> str | None:
    """What a sync would stumble over: it makes tables where the views are older, or not there, and
    takes them for granted where they are its own."""
    from fraud_mlops.warehouse.columns_drift import check_columns
    from fraud_mlops.warehouse.duckdb_engine import DuckDBSession, DuckDBWarehouse
    from fraud_mlops.warehouse.names import Tables
    from fraud_mlops.warehouse.views import About, about_views

    try:
        warehouse = DuckDBWarehouse(path, Tables(table))
        session = DuckDBSession(connection, warehouse.address, warehouse.mend_schema)
        if about_views(session) == About.of(warehouse.tables):
            check_columns(session, warehouse)
    except FraudMlopsError as error:
        return str(error)
    return None


def lakehouse(settings: Settings) -> Finding | None:
    """None where it is a store that a process of its own has to ask."""
    return _root("lakehouse", settings.lakehouse_uri, variable("lakehouse_uri"))


def models(settings: Settings) -> Finding | None:
    if settings.model_uri is None:
        return None
    return _root("models", settings.model_uri, variable("model_uri"))


def _root(name: str, uri: str, set_by: str) -> Finding | None:
    if not is_local(uri):
        return None
    try:
        require_root(uri)
    except LakehouseError as error:
        return wrong(name, str(error), f"export {set_by}=...")
    return folder(name, Path(uri.removeprefix("file://")).expanduser().absolute(), set_by)

"""Where a flow on Databricks keeps Metaflow's own records: in the store of its reports."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

KIND = "METAFLOW_DEFAULT_DATASTORE"
ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
"""adlfs' variable, for addresses that name a container alone."""


class NoAccountError(ValueError):
    """An address of Azure's that names no storage account, nor do variables."""


def records_in(store: str, known: Mapping[str, str]) -> dict[str, str]:
    """Metaflow's datastore beside the reports, so that another driver can resume the run.

    known: variables; AZURE_STORAGE_ACCOUNT_NAME has the account where the address has none.
    Raises ValueError for a store in which Metaflow has no datastore.
    """
    parts = urlsplit(store)
    scheme = parts.scheme.lower()
    if scheme in ("", "file"):
        root = f"{parts.path.rstrip('/')}/_metaflow"
        return {KIND: "local", "METAFLOW_DATASTORE_SYSROOT_LOCAL": root}
    path = f"{parts.path.rstrip('/')}/_metaflow"
    if scheme in ("abfs", "abfss", "az"):
        container, _, account = parts.netloc.partition("@")
        return {
            KIND: "azure",
            "METAFLOW_DATASTORE_SYSROOT_AZURE": container + path,
            "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": _blob_service(store, account, known),
        }
    if scheme in ("s3", "s3a"):
        root = f"s3://{parts.netloc}{path}"
        return {KIND: "s3", "METAFLOW_DATASTORE_SYSROOT_S3": root}
    raise ValueError(
        f"Metaflow keeps no records in a store {scheme}://, by which a run is repaired: "
        "give abfss://... or s3://..."
    )


def _blob_service(store: str, account: str, known: Mapping[str, str]) -> str:
    if given := known.get("METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT"):
        return given
    name, _, domain = (account or known.get(ACCOUNT) or "").partition(".")
    if not name:
        raise NoAccountError(
            f"{store} names no storage account: write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net"
            f"/PATH, or set {ACCOUNT}"
        )
    domain = (domain or "dfs.core.windows.net").replace("dfs.", "blob.", 1)
    return f"https://{name}.{domain}/"

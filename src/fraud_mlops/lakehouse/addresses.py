"""Which addresses are those of a store, and what is meant by one that is not."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fraud_mlops.errors import LakehouseError
from fraud_mlops.fields import refuse_credentials

EXTRAS = {"abfs": "azure", "abfss": "azure", "az": "azure", "s3": "aws", "s3a": "aws"}
"""The extra of the package that brings a scheme's client."""

_OLD_AZURE = {"wasb", "wasbs", "adl"}
_FORMS = {
    "azure": "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER",
    "aws": "s3://BUCKET/FOLDER",
}
_ROOTS = {*EXTRAS, "file", "memory"}
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
_AZURE_HOST = re.compile(r"(?P<account>[a-z0-9]{3,24})\.(blob|dfs)\.(?P<cloud>[a-z0-9.-]+)")
_S3_HOST = re.compile(r"((?P<bucket>[a-z0-9.-]+)\.)?s3[.-]([a-z0-9-]+\.)?amazonaws\.com(\.cn)?")


def refuse_odd(uri: str) -> None:
    """Raises LakehouseError for what holds a secret, and for a mistyped address of a store, which
    would be a folder of this machine."""
    try:
        refuse_credentials(uri)
    except ValueError as error:
        raise LakehouseError(str(error)) from None
    scheme, colon, rest = uri.partition(":")
    lower = scheme.lower()
    if colon and lower in _OLD_AZURE:
        raise LakehouseError(
            f"{scheme}:// is an address of Azure's older drivers: write {_FORMS['azure']}"
        )
    if not colon or lower not in EXTRAS:
        return
    if not rest.startswith("//") or not rest.strip("/") or scheme != lower:
        form = _FORMS[EXTRAS[lower]]
        raise LakehouseError(f"{uri} is no address of a store: write {form}")


def require_root(uri: str) -> str:
    """`uri`, of a lakehouse or a registry. Raises LakehouseError for what can be neither.

    A web address is read from, as a contract or a source of claims; nothing is written there.
    """
    refuse_odd(uri)
    found = _SCHEME.match(uri)
    if found is None or found["scheme"] in _ROOTS:
        return uri
    meant = _meant(uri)
    forms = f"a folder, {_FORMS['azure']} or {_FORMS['aws']}"
    raise LakehouseError(
        f"{uri}: {found['scheme']}: is no store for a lakehouse or for models; "
        + (f"write {meant}" if meant else f"give {forms}")
    ).mended_by(f"export LAKEHOUSE_URI={meant or _FORMS['azure']}    # or where you gave it")


def _meant(uri: str) -> str | None:
    """The address of a store that a web address is of, as portals show it."""
    place = urlsplit(uri)
    host, path = (place.hostname or ""), place.path.strip("/")
    if azure := _AZURE_HOST.fullmatch(host):
        container, _, folder = path.partition("/")
        at = f"{azure['account']}.dfs.{azure['cloud']}"
        return f"abfss://{container or 'CONTAINER'}@{at}/{folder}".rstrip("/")
    if s3 := _S3_HOST.fullmatch(host):
        return (
            f"s3://{'/'.join(filter(None, (s3['bucket'], path)))}" if path or s3["bucket"] else None
        )
    return None

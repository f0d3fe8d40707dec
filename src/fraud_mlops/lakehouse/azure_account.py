"""Which storage account an `abfss://` address means, and how one signs in to it.

By what is set, in this order: connection string, account key, shared access signature, and
Microsoft Entra when there is none of them. adlfs by itself, with which the report ledger writes,
chooses alike.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from fraud_mlops.errors import SettingsError
from fraud_mlops.lakehouse import azure_secrets
from fraud_mlops.settings import settings

SignIn = Literal["connection string", "account key", "SAS", "Entra"]

_DEFAULT_HOST = "blob.core.windows.net"
_HOST = re.compile(r"(?P<account>[a-z0-9]{3,24})\.(dfs|blob)\.(?P<cloud>[a-z0-9.-]+)")
_SIGNED_IN = """\
set one of
  AZURE_STORAGE_CONNECTION_STRING   the account's, with a key or a shared access signature
  AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY
  AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_SAS_TOKEN
  AZURE_STORAGE_ACCOUNT_NAME alone, signed in to Microsoft Entra (az login, a managed identity, \
or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET)
An address that names its account, abfss://<container>@<account>.dfs.core.windows.net/..., needs \
no AZURE_STORAGE_ACCOUNT_NAME."""


@dataclass(frozen=True)
class Sas:
    """What a shared access signature says of itself. starts, expires: None where a stored policy
    says, or nothing does."""

    starts: datetime | None
    expires: datetime | None
    permissions: str | None

    @classmethod
    def of(cls, token: str) -> Sas:
        found = {name: values[0] for name, values in parse_qs(token.lstrip("?")).items()}
        return cls(_instant(found.get("st", "")), _instant(found.get("se", "")), found.get("sp"))

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now

    def is_early(self, now: datetime) -> bool:
        return self.starts is not None and self.starts > now


@dataclass(frozen=True)
class AzureAccount:
    """url: of its blob service. secret: connection string, key or token; None with Entra."""

    name: str
    url: str
    sign_in: SignIn
    secret: str | None = field(default=None, repr=False)

    @property
    def sas(self) -> Sas | None:
        if self.secret is None or self.sign_in not in ("SAS", "connection string"):
            return None
        token = self.secret
        if self.sign_in == "connection string":
            token = _parts(self.secret).get("sharedaccesssignature", "")
        return Sas.of(token) if token else None


def azure_account(uri: str) -> AzureAccount:
    """The account of an address, and what is set for it.

    Raises SettingsError where the address and the settings name different accounts, where neither
    names one, and for what can be no key, signature or connection string.
    """
    named, cloud = _named(uri)
    found = settings()
    if found.azure_storage_connection_string:
        secret = found.azure_storage_connection_string.get_secret_value()
        account, url = _connected(secret)
        _require_same(uri, named, account, azure_secrets.CONNECTION)
        if other := found.azure_storage_account_name:
            azure_secrets.require_account_name(other)
            if other != account:
                raise SettingsError(
                    f"{azure_secrets.NAME}={other}, but {azure_secrets.CONNECTION} is for "
                    f"{account}, and goes before it; unset the one that is not meant"
                ).mended_by(f"unset {azure_secrets.NAME}    # or {azure_secrets.CONNECTION}")
        return AzureAccount(account, url, "connection string", secret)

    if found.azure_storage_account_name:
        azure_secrets.require_account_name(found.azure_storage_account_name)
    name = named or found.azure_storage_account_name
    if name is None:
        raise SettingsError(f"{uri}: no storage account is known for it; {_SIGNED_IN}").mended_by(
            f"export {azure_secrets.NAME}=..."
        )
    _require_same(uri, named, found.azure_storage_account_name, azure_secrets.NAME)
    url = f"https://{name}.{cloud}"
    if found.azure_storage_account_key:
        key = found.azure_storage_account_key.get_secret_value()
        azure_secrets.require_key(key)
        return AzureAccount(name, url, "account key", key)
    if found.azure_storage_sas_token:
        token = found.azure_storage_sas_token.get_secret_value()
        azure_secrets.require_signature(token)
        return AzureAccount(name, url, "SAS", token.lstrip("?"))
    return AzureAccount(name, url, "Entra")


def how_to_sign_in() -> str:
    """For a person whose sign-in failed."""
    return _SIGNED_IN


def _named(uri: str) -> tuple[str | None, str]:
    """The account in `abfss://container@account.dfs.<cloud>/path`, and the host of its blobs."""
    place = urlsplit(uri).netloc
    if not place.partition("@")[0]:
        raise SettingsError(
            f"{uri}: names no container; write "
            "abfss://<container>@<account>.dfs.core.windows.net/<path>"
        )
    if "@" not in place:
        return None, _DEFAULT_HOST
    match = _HOST.fullmatch(place.partition("@")[2].lower())
    if match is None:
        raise SettingsError(
            f"{uri}: names no storage account; write "
            "abfss://<container>@<account>.dfs.core.windows.net/<path>"
        )
    return match["account"], f"blob.{match['cloud']}"


def _require_same(uri: str, named: str | None, other: str | None, variable: str) -> None:
    if named and other and named != other:
        raise SettingsError(
            f"{uri}: is in the account {named}, but {variable} is for {other}; correct one of "
            "them, or unset the variable"
        )


def _connected(text: str) -> tuple[str, str]:
    """Account and address of its blob service, by a connection string."""
    parts = _parts(text)
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        parts["blobendpoint"] = "http://127.0.0.1:10000/devstoreaccount1"
    name, url = parts.get("accountname"), parts.get("blobendpoint")
    if not url and name:
        scheme = parts.get("defaultendpointsprotocol", "https")
        url = f"{scheme}://{name}.blob.{parts.get('endpointsuffix', 'core.windows.net')}"
    name = name or (_account_in(url) if url else None)
    if not url or not name:
        raise SettingsError(
            "AZURE_STORAGE_CONNECTION_STRING: names no account; copy it whole, as the portal shows "
            "it under Access keys or Shared access signature"
        )
    azure_secrets.require_connection(text, parts, url)
    return name, url


def _account_in(url: str) -> str | None:
    """`account.blob...`, or the first folder where the host is an address, as Azurite's."""
    place = urlsplit(url)
    host = place.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host != "localhost":
            return host.partition(".")[0] or None
    return place.path.strip("/").partition("/")[0] or None


def _parts(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _instant(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

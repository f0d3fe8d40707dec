"""Whether what is set for ADLS can be a key, a signature, a connection string at all.

Told before it is sent anywhere, by the variable's name and never with what is in it. Of what
passes, Azure says whether it is right.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from fraud_mlops.errors import SettingsError

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
KEY = "AZURE_STORAGE_ACCOUNT_KEY"
SAS = "AZURE_STORAGE_SAS_TOKEN"
NAME = "AZURE_STORAGE_ACCOUNT_NAME"

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_FOREIGN = re.compile(r"[^\x21-\x7e]|[\"'<>`]")


def require_account_name(name: str) -> None:
    """Raises SettingsError."""
    if not _ACCOUNT.fullmatch(name):
        raise _malformed(
            NAME, "is no name of a storage account: 3 to 24 of a-z and 0-9, no address"
        )


def require_key(key: str, variable: str = KEY) -> None:
    """Raises SettingsError for what is no base64."""
    try:
        found = base64.b64decode("".join(key.split()), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not found:
        raise _malformed(variable, "is no account key: 88 characters of base64, which end in ==")


def require_signature(token: str, variable: str = SAS) -> None:
    """Raises SettingsError for an address, for what is quoted or cut, and without a `sig`."""
    if "://" in token.partition("?")[0]:
        raise _malformed(variable, "is an address; give what stands in it behind the `?`")
    if _FOREIGN.search(token) or not parse_qs(token.lstrip("?")).get("sig"):
        raise _malformed(
            variable,
            "is no shared access signature: `sv=...&sig=...`, without quotes, spaces and breaks",
        )


def require_connection(text: str, parts: Mapping[str, str], url: str) -> None:
    """parts: of `text`, by name in lower case. url: of the blob service, as they say."""
    if any("=" not in part for part in text.split(";") if part.strip()):
        raise _malformed(CONNECTION, "is malformed: it is `Name=value;Name=value;...`")
    endpoint = urlsplit(url)
    if endpoint.scheme not in ("http", "https"):
        raise _malformed(CONNECTION, "is malformed: its BlobEndpoint is no http(s) address")
    if endpoint.query or endpoint.fragment or "@" in endpoint.netloc:
        raise _malformed(
            CONNECTION, "is malformed: its BlobEndpoint holds more than the address of the service"
        )
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return
    if "accountkey" in parts:
        if "accountname" not in parts:
            raise _malformed(CONNECTION, "is malformed: it has an AccountKey and no AccountName")
        require_key(parts["accountkey"], f"the AccountKey in {CONNECTION}")
    elif "sharedaccesssignature" in parts:
        signature = parts["sharedaccesssignature"]
        require_signature(signature, f"the SharedAccessSignature in {CONNECTION}")
    else:
        raise _malformed(
            CONNECTION, "is malformed: it has neither an AccountKey nor a SharedAccessSignature"
        )


def _malformed(what: str, why: str) -> SettingsError:
    return SettingsError(f"{what} {why}; copy it again, whole, from the portal or `az storage`")

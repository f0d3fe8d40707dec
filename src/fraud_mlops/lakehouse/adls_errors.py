"""What went wrong at ADLS, in words, with nothing of the client's own text.

That may hold a signed address.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from aiohttp import ClientConnectorCertificateError, ClientConnectorError
from azure.core.exceptions import AzureError, ClientAuthenticationError

from fraud_mlops.errors import ReplacedError, StoreError
from fraud_mlops.lakehouse import azure_secrets
from fraud_mlops.lakehouse.azure_account import AzureAccount, how_to_sign_in
from fraud_mlops.settings import settings

_MOST_SKEW = 900.0
"""Seconds. Azure refuses what was signed a quarter of an hour ago, or is of a time to come."""
_VARIABLES = {
    "connection string": azure_secrets.CONNECTION,
    "account key": azure_secrets.KEY,
    "SAS": azure_secrets.SAS,
}


def said(error: AzureError, fs: Any, path: str, action: str) -> OSError:
    """fs: an AdlsFileSystem. action: read or write."""
    uri = fs.unstrip_protocol(path)
    status = getattr(error, "status_code", None)
    code = code_of(error)
    if code in ("ContainerNotFound", "ContainerBeingDeleted", "FilesystemNotFound"):
        return no_container(fs, path)
    if status == 404:
        return FileNotFoundError(f"{uri}: there is no such file")
    if status == 412:
        return ReplacedError(f"{uri}: was replaced by another run meanwhile; try again")
    if code == "BlobAlreadyExists":
        return FileExistsError(f"{uri}: is there already")
    if isinstance(error, ClientAuthenticationError) or status in (401, 403):
        container = str(fs._strip_protocol(path)).partition("/")[0]
        words, mend = _refused(error, fs.account, container, action, code)
        return StoreError(f"{uri}: {words}").mended_by(mend)
    if is_distrust(error):
        return StoreError(
            f"{uri}: this machine does not trust the certificate of {fs.account.url}; where a "
            "proxy or a cloud has an authority of its own, set SSL_CERT_FILE to the file of its "
            "certificates"
        ).mended_by("export SSL_CERT_FILE=/path/of/its/certificates.pem")
    tries = settings().store_retries + 1
    if status in (429, 500, 502, 503, 504):
        return StoreError(
            f"{uri}: the store is too busy ({code}), after {tries} tries; start again later, or "
            "raise FRAUD_STORE_RETRIES"
        )
    if isinstance(getattr(error, "inner_exception", None), ClientConnectorError):
        return StoreError(
            f"{uri}: {fs.account.url} cannot be reached, after {tries} tries; look at the name of "
            "the account, and at the network (firewall, proxy, private endpoint)"
        ).mended_by(f"curl --max-time 10 {fs.account.url}    # who answers, from this machine?")
    if status is None:
        return StoreError(
            f"{uri}: the connection broke or timed out, after {tries} tries; start again, or "
            "raise FRAUD_STORE_TIMEOUT"
        )
    return StoreError(f"{uri}: the store refused to {action} it ({code})")


def code_of(error: AzureError) -> str:
    """As Azure names what went wrong, else the status."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or f"HTTP {getattr(error, 'status_code', None)}")


def no_container(fs: Any, path: str) -> StoreError:
    uri, account = fs.unstrip_protocol(path), fs.account.name
    container = str(fs._strip_protocol(path)).partition("/")[0]
    make = (
        f"az storage container create --account-name {account} --name {container} --auth-mode login"
    )
    return StoreError(
        f"{uri}: the account {account} has no container {container!r}. Correct the address, or "
        f"have it made: {make}"
    ).mended_by(f"{make}    # or correct LAKEHOUSE_URI")


def is_distrust(error: Any) -> bool:
    """Whether it is the server's certificate, which no second try makes better."""
    inner = getattr(error, "inner_exception", None)
    return isinstance(inner, ClientConnectorCertificateError)


def _refused(
    error: AzureError, account: AzureAccount, container: str, action: str, code: str
) -> tuple[str, str]:
    """Words, and the command that mends it."""
    skew = _skew(error)
    if told := _refused_sas(account, container, action, code, skew):
        return told
    if abs(skew) >= _MOST_SKEW:
        return (
            f"it was refused ({code}), and this machine's clock is {skew:+.0f} s off the store's: "
            "what it signs counts as expired, or as not valid yet",
            "sudo timedatectl set-ntp true",
        )
    if account.sign_in == "Entra":
        return _refused_by_entra(error, account, action, code)
    variable = _VARIABLES[account.sign_in]
    keys = f"az storage account keys list --account-name {account.name} -o table    # {variable}"
    if getattr(error, "status_code", None) is None:  # never sent
        return f"no request can be signed: {variable} is malformed; copy it again, whole", keys
    return (
        f"the {account.sign_in} was refused ({code}): it is wrong, of another account, or does "
        f"not allow to {action}; set another",
        _sign(account, container) if account.sas else keys,
    )


def _refused_sas(
    account: AzureAccount, container: str, action: str, code: str, skew: float
) -> tuple[str, str] | None:
    """What a signature says of itself, by the store's clock; None where that explains nothing."""
    sas = account.sas
    if sas is None:
        return None
    sign, now = _sign(account, container), datetime.now(UTC) - timedelta(seconds=skew)
    if sas.expired(now):
        words = f"the shared access signature expired at {sas.expires:%F %H:%M} UTC; set a new one"
        return words, sign
    if sas.is_early(now):
        words = f"the shared access signature is valid only from {sas.starts:%F %H:%M} UTC on"
        return f"{words}; wait, or set another that starts earlier", sign
    if sas.permissions is not None and "Mismatch" in code:
        lacking = "acdrlw" if action == "write" else "rl"
        lacks = "".join(one for one in lacking if one not in sas.permissions)
        return (
            f"the shared access signature may not {action} it: its permissions are "
            f"{sas.permissions!r}, a lakehouse needs 'racwdl' ({lacks!r} is missing); set another",
            sign,
        )
    return None


def _sign(account: AzureAccount, container: str) -> str:
    """The command for a new signature."""
    return (
        f"az storage container generate-sas --account-name {account.name} --name {container} "
        "--permissions racwdl --expiry $(date -ud +90days +%FT%TZ) --https-only -o tsv    "
        f"# into {_VARIABLES[account.sign_in]}"
    )


def _refused_by_entra(
    error: AzureError, account: AzureAccount, action: str, code: str
) -> tuple[str, str]:
    name = account.name
    if getattr(error, "status_code", None) is None:  # no token to be had
        tried = ", ".join(re.findall(r"^\s*(\w+Credential):", str(error), re.MULTILINE))
        by = f" (tried: {tried}; the logger azure.identity says what each lacked)" if tried else ""
        return f"nobody is signed in to the account {name}{by}; {how_to_sign_in()}", "az login"
    if code == "AuthorizationPermissionMismatch":
        role = f"Storage Blob Data {'Contributor' if action == 'write' else 'Reader'}"
        return (
            f"whoever is signed in by Microsoft Entra may not {action} it ({code}); have the role "
            f"{role} assigned on {name}, and wait some minutes",
            f'az role assignment create --role "{role}" --assignee '
            "$(az ad signed-in-user show --query id -o tsv) --scope "
            f"$(az storage account show --name {name} --query id -o tsv)",
        )
    if code == "AuthorizationFailure":
        return (
            f"the account {name} lets nobody {action} it from here ({code}); look at its "
            "network rules (firewall, private endpoint), then at the roles on it",
            f"az storage account show --name {name} --query networkRuleSet",
        )
    return (
        f"the account {name} did not take the token of Microsoft Entra ({code}): it has "
        "expired, or is for another tenant or service; sign in again (az login --tenant ..., or "
        "restart what the managed identity belongs to), and look at this machine's clock",
        "az login    # --tenant, where there are several",
    )


def _skew(error: AzureError) -> float:
    """Seconds that this machine's clock is ahead of the store's; 0 where no answer says."""
    response = getattr(error, "response", None)
    try:
        there = parsedate_to_datetime(response.headers["Date"])  # type: ignore[union-attr]
        return (datetime.now(UTC) - there).total_seconds()
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0.0

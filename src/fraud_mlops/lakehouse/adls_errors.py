"""What went wrong at ADLS, in words, with nothing of the client's own text.

That may hold a signed address.
"""

from __future__ import annotations

from typing import Any

from aiohttp import ClientConnectorError
from azure.core.exceptions import AzureError, ClientAuthenticationError

from fraud_mlops.errors import ReplacedError, StoreError
from fraud_mlops.lakehouse.azure_account import AzureAccount, how_to_sign_in
from fraud_mlops.settings import settings


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
        return StoreError(f"{uri}: {_refused(error, fs.account, action, code)}")
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
        )
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
    return StoreError(
        f"{uri}: the account {account} has no container {container!r}. Correct the address, or "
        f"have it made: az storage container create --account-name {account} "
        f"--name {container} --auth-mode login"
    )


def _refused(error: AzureError, account: AzureAccount, action: str, code: str) -> str:
    sas = account.sas
    by = f"the {account.sign_in}" if account.sign_in != "Entra" else "Microsoft Entra"
    if account.sign_in == "Entra":
        if getattr(error, "status_code", None) is None:
            return f"nobody is signed in to the account {account.name}; {how_to_sign_in()}"
        return (
            f"{by} may not {action} it ({code}); have the role Storage Blob Data "
            f"{'Contributor' if action == 'write' else 'Reader'} assigned on {account.name}"
        )
    if sas and sas.expired:
        return f"the shared access signature expired at {sas.expires:%F %H:%M} UTC; set a new one"
    if sas and sas.permissions is not None and "Mismatch" in code:
        lacking = "acdrlw" if action == "write" else "rl"
        lacks = "".join(sign for sign in lacking if sign not in sas.permissions)
        return (
            f"the shared access signature may not {action} it: its permissions are "
            f"{sas.permissions!r}, a lakehouse needs 'racwdl' ({lacks!r} is missing); set another"
        )
    return (
        f"{by} was refused ({code}): it is wrong, of another account, or does not allow to "
        f"{action}; set another"
    )

"""What went wrong at S3, in words, with the command that mends it."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from aiohttp import ClientConnectorError, ClientPayloadError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
)

from fraud_mlops.errors import SettingsError, StoreError
from fraud_mlops.settings import settings

SETTINGS = "see AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ~/.aws/config and credentials"

_BUSY = ("SlowDown", "503", "500", "InternalError", "ServiceUnavailable", "RequestTimeout")
_EXPIRED = ("ExpiredToken", "RequestExpired", "TokenRefreshRequired")
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_ENDPOINT = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_NEEDED = "s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket and s3:AbortMultipartUpload"

Told = tuple[str, str | None]
"""Words, and the command that mends it."""


def code_of(error: BaseException) -> str:
    """As S3 names what went wrong; empty where it was never asked."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    return str(cause.response["Error"].get("Code")) if isinstance(cause, ClientError) else ""


def endpoint_of_settings() -> str | None:
    """Another endpoint than AWS's own, where one is set.

    Raises SettingsError for what is none. It is not shown, for it may hold what is secret.
    """
    name = _variable()
    if name is None:
        return None
    given = os.environ[name]
    if "@" in given.partition("://")[2].partition("/")[0]:
        raise SettingsError(
            f"{name} holds a login, and addresses are shown in logs; take it out, and give "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if not _ENDPOINT.fullmatch(given):
        raise SettingsError(
            f"{name} is no address of a server; write http://HOST:PORT or https://HOST"
        )
    return given


def said(error: Exception, bucket: str, key: str | None) -> StoreError | None:
    """In words; None for what callers know how to take (no such object, another version)."""
    told = _refused(error, bucket) or _failed(error)
    if told is None:
        return None
    words, mend = told
    return StoreError(f"s3://{bucket}/{key or ''}: {words}").mended_by(mend)


def _refused(error: Exception, bucket: str) -> Told | None:
    """By an answer, or for want of credentials."""
    code = code_of(error)
    if code == "NoSuchBucket":
        make = f"aws s3 mb s3://{bucket}"
        words = f"there is no bucket {bucket!r}. Correct the address, or have it made: {make}"
        return words, f"{make}    # or correct LAKEHOUSE_URI"
    if code in _EXPIRED:
        return (
            f"the AWS session has expired ({code}); sign in again",
            "aws sso login    # or a new AWS_SESSION_TOKEN with its two keys",
        )
    if code == "RequestTimeTooSkewed":
        words = (
            f"it was refused ({code}): this machine's clock is a quarter of an hour off, or more"
        )
        return words, "sudo timedatectl set-ntp true"
    if code == "NoSuchUpload":
        return "somebody has ended this very upload meanwhile; start again", None
    if isinstance(error, PermissionError):
        who = (
            "aws configure    # the keys anew"
            if code in _WRONG_KEYS
            else f"aws sts get-caller-identity    # who needs leave on {bucket}"
        )
        return (
            f"access was refused ({code}); the AWS identity in use (AWS_PROFILE, "
            f"AWS_ACCESS_KEY_ID or a role) needs {_NEEDED} on {bucket}",
            who,
        )
    if isinstance(error, NoCredentialsError):
        return (
            "there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the machine a role",
            "aws configure    # or aws sso login, and export AWS_PROFILE=...",
        )
    return None


def _failed(error: Exception) -> Told | None:
    """On the way."""
    tries = settings().store_retries + 1
    if (code := code_of(error)) in _BUSY:
        return (
            f"the store is too busy ({code}), after {tries} tries; start again later, or "
            "raise FRAUD_STORE_RETRIES",
            None,
        )
    if _out_of_reach(error):
        place = place_of(error, otherwise=endpoint_of_settings() or "https://s3.amazonaws.com")
        return (
            f"S3 cannot be reached at {place}, after {tries} tries; look at {_set_by()}, and at "
            "the network (firewall, proxy, VPC endpoint)",
            f"curl --max-time 10 {place}    # who answers, from this machine?",
        )
    if isinstance(error, (HTTPClientError, ConnectionError, ClientPayloadError)):
        return (
            f"the connection broke or timed out, after {tries} tries; start again, or "
            "raise FRAUD_STORE_TIMEOUT",
            None,
        )
    if isinstance(error, BotoCoreError):
        return f"{error}; {SETTINGS}", "aws configure list"
    return None


def _out_of_reach(error: Exception) -> bool:
    """A connection that breaks while something is sent is an EndpointConnectionError too."""
    if isinstance(error, EndpointConnectionError):
        return isinstance(error.kwargs.get("error"), ClientConnectorError)
    return isinstance(error, ConnectTimeoutError)


def place_of(error: Exception, *, otherwise: str) -> str:
    """Scheme, host and port that were asked: the rest of the address may be signed."""
    asked = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url") or ""))
    if not asked.hostname:
        asked = urlsplit(otherwise)
    return f"{asked.scheme}://{asked.netloc.rpartition('@')[2]}"


def _variable() -> str | None:
    """The one that says the endpoint."""
    return next((name for name in _ENDPOINTS if os.environ.get(name)), None)


def _set_by() -> str:
    named = _variable()
    return f"{named}, which is set" if named else "AWS_DEFAULT_REGION"

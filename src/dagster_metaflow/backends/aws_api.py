"""AWS as the cloud backends call it: clients with time-outs, and failures in words.

Clients retry throttled and broken calls themselves, in botocore's adaptive mode, which also paces
calls to what the service gives. They are kept for the process, so that the pace is too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from dagster_metaflow.backends.protocol import LaunchError

_CONNECT_SECONDS = 5
_READ_SECONDS = 20
_ATTEMPTS = 8
_CONSOLES = {
    "cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com", "": "aws.amazon.com",
}  # fmt: skip
_MADE = threading.Lock()  # boto3 sessions are not made in two threads at once

SIGNED_OUT = (
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId",
    "UnrecognizedClientException", "TokenRefreshRequired", "InvalidSignatureException",
)  # fmt: skip
SIGN_IN = "Sign in again (aws sso login, or a fresh key in the environment or profile)."
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_NAMES = (
    "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)  # fmt: skip


class Aws:
    """The account that a backend runs in. environment: variables before those of this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        found = {name: os.environ.get(name) for name in _NAMES}
        known = {**found, **{name: environment[name] for name in _NAMES if name in environment}}
        self._settings = tuple(known[name] for name in _NAMES)

    def client(self, service: str) -> Any:
        with _MADE:
            return _client(service, self._settings)

    def sign_in_anew(self) -> None:
        """Credentials that have expired are read again, where they come from, at the next call."""
        with _MADE:
            _client.cache_clear()

    @property
    def region(self) -> str:
        return str(self.client("batch").meta.region_name)

    def machine_arn(self, name: str) -> str:
        """Of the state machine of that name, whether it is there or not."""
        with _MADE:
            partition, account = _identity(self._settings)
        return f"arn:{partition}:states:{self.region}:{account}:stateMachine:{name}"

    def machine_tags(self, arn: str) -> dict[str, str]:
        """Of a state machine that is there."""
        found = self.client("stepfunctions").list_tags_for_resource(resourceArn=arn)["tags"]
        return {tag["key"]: tag["value"] for tag in found}

    # -- pages for a person --------------------------------------------------------------------

    def execution_page(self, arn: str) -> str:
        return f"{self._console}/states/home?region={self.region}#/v2/executions/details/{arn}"

    def jobs_page(self) -> str:
        return f"{self._console}/batch/home?region={self.region}#jobs"

    def log_page(self, group: str, stream: str) -> str:
        parts = [quote(quote(part, safe=""), safe="").replace("%", "$") for part in (group, stream)]
        place = f"logsV2:log-groups/log-group/{parts[0]}/log-events/{parts[1]}"
        return f"{self._console}/cloudwatch/home?region={self.region}#{place}"

    @property
    def _console(self) -> str:
        starts = (start for start in _CONSOLES if self.region.startswith(start))
        return f"https://{self.region}.console.{_CONSOLES[next(starts)]}"


@lru_cache(maxsize=32)
def _client(service: str, settings: tuple[str | None, ...]) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise LaunchError("AWS backends need boto3: pip install 'fraud-mlops[aws]'") from None
    from botocore.exceptions import BotoCoreError

    profile, region, default_region, endpoint, key, secret, token = settings
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
    )
    try:
        session = boto3.Session(
            profile_name=profile,
            region_name=region or default_region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )
        return session.client(service, endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise LaunchError(f"AWS cannot be reached: {error}") from None


@lru_cache(maxsize=8)
def _identity(settings: tuple[str | None, ...]) -> tuple[str, str]:
    """Partition and account."""
    parts = _client("sts", settings).get_caller_identity()["Arn"].split(":")
    return parts[1], parts[4]


def code_of(error: Exception) -> str:
    """The API's name of an error; empty for one that never came from it."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", "")).rpartition("#")[2]


def is_lasting(error: Exception) -> bool:
    """Whether asking again cannot help: the call itself is refused."""
    code = code_of(error)
    return code in _DENIED or code in ("ValidationException", "InvalidArn")


def is_signed_out(error: Exception) -> bool:
    return code_of(error) in SIGNED_OUT or type(error).__name__ in (
        "NoCredentialsError", "SSOTokenLoadError", "UnauthorizedSSOTokenError",
        "CredentialRetrievalError", "TokenRetrievalError",
    )  # fmt: skip


def explained(error: Exception, doing: str) -> LaunchError:
    """In words, with what to do next."""
    code, text = code_of(error), str(error)
    if is_signed_out(error):
        advice = SIGN_IN
    elif code in _DENIED:
        advice = "Give the caller the permission; infra/aws/stack.yaml lists what is needed."
    elif not code:
        advice = "Is the network there, and AWS_DEFAULT_REGION right?"
    else:
        advice = "Look at the console, then re-execute."
    return LaunchError(f"AWS refused {doing}: {text}. {advice}")


@contextmanager
def said(doing: str) -> Iterator[None]:
    """A failure of AWS as a LaunchError. doing: what was being done."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explained(error, doing) from None

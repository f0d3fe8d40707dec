"""S3 by s3fs, whose failures are said in words, and whose listings are never remembered."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
from s3fs import S3FileSystem
from s3fs.core import S3File

from fraud_mlops.errors import ReplacedError, StoreError
from fraud_mlops.settings import settings

_BUSY = ("SlowDown", "503", "500", "InternalError", "ServiceUnavailable", "RequestTimeout")
_ONE_REQUEST = 100 << 20
"""As s3fs cuts uploads."""

_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_EXPIRED = ("ExpiredToken", "RequestExpired", "TokenRefreshRequired")

_SETTINGS = "see AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ~/.aws/config and credentials"


def s3(uri: str) -> tuple[S3Store, str]:
    """The file system of `uri`, and the path in it."""
    found = settings()
    fs = S3Store(
        # Named, so that another endpoint is another instance; None is what the client finds.
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        config_kwargs={
            "connect_timeout": min(20.0, found.store_timeout),
            "read_timeout": found.store_timeout,
            "retries": {"mode": "standard", "total_max_attempts": found.store_retries + 1},
        },
        use_listings_cache=False,
    )
    return fs, S3Store._strip_protocol(uri)


class S3Store(S3FileSystem):  # type: ignore[misc]
    """Raises FileNotFoundError for an object that is not there, StoreError for most else."""

    pins_versions = True
    retries = 2  # for a body that breaks off; requests are tried again by the client itself

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sending: defaultdict[str, set[asyncio.Task[Any]]] = defaultdict(set)

    async def set_session(self, *arguments: Any, **options: Any) -> Any:
        """Reads what AWS's own variables and files say, which may be nonsense."""
        try:
            return await super().set_session(*arguments, **options)
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"S3 cannot be asked: {error}; {_SETTINGS}") from None

    async def _abort_mpu(self, bucket: str, key: str, mpu: str) -> None:
        """Parts that are still on their way would arrive after it, and stay."""
        await asyncio.gather(*self._sending.pop(mpu, ()), return_exceptions=True)
        await super()._abort_mpu(bucket, key, mpu)

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        task = asyncio.current_task() if method == "upload_part" else None
        if task is None:
            return await self._said(method, *arguments, **options)
        upload = str(options["UploadId"])
        self._sending[upload].add(task)
        try:
            return await self._said(method, *arguments, **options)
        finally:
            self._sending[upload].discard(task)
            if not self._sending[upload]:
                del self._sending[upload]

    async def _said(self, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await super()._call_s3(method, *arguments, **options)
        except (OSError, BotoCoreError) as error:
            if told := said(error, str(options.get("Bucket")), options.get("Key")):
                raise told from None
            raise

    async def _cat_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        with _bodies_in_words(path):
            return await super()._cat_file(path, *arguments, **options)

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any
    ) -> Any:
        if mode != "rb":
            return super()._open(path, mode, block_size, **options)
        return _Object(self, path, mode, block_size or self.default_block_size, **options)

    def write_version(self, path: str, data: bytes, tag: str | None) -> None:
        """Replaces the version of that tag, or makes the object (None). Raises ReplacedError."""
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        self._conditional(path, lambda: self.pipe_file(path, data, **condition))

    def put_version(self, local: str, path: str, tag: str) -> None:
        """Uploads a file in place of the version of that tag. Raises ReplacedError.

        Where it takes several requests, the tag is looked at before the first.
        """
        if os.path.getsize(local) < _ONE_REQUEST:  # noqa: PTH202 - a path of fsspec's
            self._conditional(path, lambda: self.put_file(local, path, IfMatch=tag))
        elif self.info(path)["ETag"] == tag:
            self.put_file(local, path)
        else:
            raise ReplacedError(f"s3://{path}: another writer came first")

    def _conditional(self, path: str, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            # A tag of an object that is gone is no such object.
            taken = isinstance(error, (FileExistsError, FileNotFoundError))
            if taken or _code(error) in _TAKEN:
                raise ReplacedError(f"s3://{path}: another writer came first") from None
            raise


class _Object(S3File):  # type: ignore[misc]
    """One that is read."""

    def _fetch_range(self, start: int, end: int) -> Any:
        with _bodies_in_words(self.path):
            return super()._fetch_range(start, end)


@contextmanager
def _bodies_in_words(path: str) -> Iterator[None]:
    """A body that breaks off is no answer to a request, which `_call_s3` has heard by then."""
    try:
        yield
    except (BotoCoreError, ClientPayloadError) as error:
        bucket, _, key = path.removeprefix("s3://").partition("/")
        if told := said(error, bucket, key):
            raise told from None
        raise


def _code(error: BaseException) -> str:
    cause = error if isinstance(error, ClientError) else error.__cause__
    return str(cause.response["Error"].get("Code")) if isinstance(cause, ClientError) else ""


def said(error: Exception, bucket: str, key: str | None) -> StoreError | None:
    """In words; None for what callers know how to take (no such object, another version)."""
    uri = f"s3://{bucket}/{key or ''}"
    code = _code(error)
    tries = settings().store_retries + 1
    if code == "NoSuchBucket":
        return StoreError(
            f"{uri}: there is no bucket {bucket!r}. Correct the address, or have it made: "
            f"aws s3 mb s3://{bucket}"
        )
    if code in _EXPIRED:
        return StoreError(f"{uri}: the AWS session has expired ({code}); sign in again")
    if code == "NoSuchUpload":
        return StoreError(f"{uri}: somebody has ended this very upload meanwhile; start again")
    if isinstance(error, PermissionError):
        return StoreError(
            f"{uri}: access was refused ({code}); the AWS identity in use (AWS_PROFILE, "
            "AWS_ACCESS_KEY_ID or a role) needs s3:GetObject, s3:PutObject, s3:DeleteObject, "
            f"s3:ListBucket and s3:AbortMultipartUpload on {bucket}"
        )
    if code in _BUSY:
        return StoreError(
            f"{uri}: the store is too busy ({code}), after {tries} tries; start again later, or "
            "raise FRAUD_STORE_RETRIES"
        )
    if isinstance(error, NoCredentialsError):
        return StoreError(
            f"{uri}: there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the machine a role"
        )
    if _out_of_reach(error):
        return StoreError(f"{uri}: S3 cannot be reached, after {tries} tries; see the network")
    if isinstance(error, (HTTPClientError, ConnectionError, ClientPayloadError)):
        return StoreError(
            f"{uri}: the connection broke or timed out, after {tries} tries; start again, or "
            "raise FRAUD_STORE_TIMEOUT"
        )
    if isinstance(error, BotoCoreError):
        return StoreError(f"{uri}: {error}; {_SETTINGS}")
    return None


def _out_of_reach(error: Exception) -> bool:
    """A connection that breaks while something is sent is an EndpointConnectionError too."""
    if isinstance(error, EndpointConnectionError):
        return isinstance(error.kwargs.get("error"), ClientConnectorError)
    return isinstance(error, ConnectTimeoutError)

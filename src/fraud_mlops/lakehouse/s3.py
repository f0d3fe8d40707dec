"""S3 by s3fs, whose failures are said in words, and whose listings are never remembered."""

from __future__ import annotations

import asyncio
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientPayloadError
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError
from s3fs import S3FileSystem
from s3fs.core import S3File

from fraud_mlops.errors import LakehouseError, ReplacedError, StoreError
from fraud_mlops.lakehouse.s3_errors import SETTINGS, code_of, endpoint_of_settings, said
from fraud_mlops.lakehouse.waiting import tell_waiting
from fraud_mlops.settings import settings

_ONE_REQUEST = 100 << 20
"""As s3fs cuts uploads."""

_LONGEST_PAUSE = 20.0
"""Seconds, of AWS's client between two tries; each is a random share of a power of two."""

_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]|arn:.+")
"""Or the ARN of an access point. Buckets of before 2018 may have other names; none can be made."""


def s3(uri: str) -> tuple[S3Store, str]:
    """The file system of `uri`, and the path in it. Raises LakehouseError for what is no bucket."""
    _require_bucket(uri)
    found = settings()
    fs = S3Store(
        # Named, so that another endpoint is another instance; None is what the client finds.
        endpoint_url=endpoint_of_settings(),
        config_kwargs={
            "connect_timeout": min(20.0, found.store_timeout),
            "read_timeout": found.store_timeout,
            "retries": {"mode": "standard", "total_max_attempts": found.store_retries + 1},
        },
        use_listings_cache=False,
    )
    return fs, S3Store._strip_protocol(uri)


def _require_bucket(uri: str) -> None:
    bucket = uri.partition("://")[2].partition("/")[0]
    if _BUCKET.fullmatch(bucket):
        return
    if not bucket:
        why = "names no bucket; write s3://<bucket>/<path>"
    else:
        why = (
            f"{bucket!r} is no name of a bucket: 3 to 63 of a-z, 0-9, hyphen and dot, in lower "
            "case; correct the address"
        )
    raise LakehouseError(f"{uri}: {why}").mended_by("aws s3 ls    # what buckets there are")


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
            client = await super().set_session(*arguments, **options)
        except (BotoCoreError, ValueError) as error:
            told = StoreError(f"S3 cannot be asked: {error}; {SETTINGS}")
            raise told.mended_by("aws configure list") from None
        client.meta.events.register("needs-retry.s3", _tell_waiting, unique_id="fraud-waiting")
        return client

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

    def put_version(self, local: str, path: str, tag: str | None) -> None:
        """Uploads a file in place of the version of that tag, or of none. Raises ReplacedError.

        Where it takes several requests, the tag is looked at before the first.
        """
        if tag is None:
            self._conditional(path, lambda: self.put_file(local, path, mode="create"))
        elif os.path.getsize(local) < _ONE_REQUEST:  # noqa: PTH202 - a path of fsspec's
            self._conditional(path, lambda: self.put_file(local, path, IfMatch=tag))
        elif self.info(path)["ETag"] == tag:
            self.put_file(local, path)
        else:
            raise ReplacedError(f"s3://{path}: another writer came first")

    def delete_version(self, path: str, tag: str) -> None:
        """Removes the version of that tag. Raises ReplacedError; one that is gone is no error."""
        bucket, key, _ = self.split_path(path)
        try:
            self.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=tag)
        except OSError as error:
            if code_of(error) not in _TAKEN:
                raise
            raise ReplacedError(f"s3://{path}: another writer came first") from None

    def _conditional(self, path: str, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            # A tag of an object that is gone is no such object.
            taken = isinstance(error, (FileExistsError, FileNotFoundError))
            if taken or code_of(error) in _TAKEN:
                raise ReplacedError(f"s3://{path}: another writer came first") from None
            raise


def _tell_waiting(
    attempts: int,
    request_dict: Mapping[str, Any],
    caught_exception: Exception | None,
    response: tuple[Any, Any] | None,
    **_: Any,
) -> None:
    """Of a request that has failed twice, or once by taking its time. Decides nothing."""
    slow = isinstance(caught_exception, (ConnectTimeoutError, ReadTimeoutError))
    failed = caught_exception is not None or (response and response[0].status_code >= 500)
    left = settings().store_retries + 1 - attempts
    if not failed or left < 1 or (attempts < 2 and not slow):
        return
    pauses = sum(min(2.0 ** (attempts - 1 + n), _LONGEST_PAUSE) for n in range(left))
    each = settings().store_timeout if slow else 0.0
    tell_waiting(str(request_dict["url"]), left, pauses + left * each)


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

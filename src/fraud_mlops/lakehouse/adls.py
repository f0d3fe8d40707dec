"""Azure Data Lake Storage by adlfs, with what it lacks.

Readers are pinned to the version they opened; waiting is as long as the server asks for; a lost
race between two uploads of many blocks is run again; listings are never remembered; and what goes
wrong is said in words, without an address that could carry a signature.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from adlfs import AzureBlobFileSystem
from adlfs.spec import AzureBlobFile
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from fsspec.asyn import sync_wrapper

from fraud_mlops.errors import ReplacedError
from fraud_mlops.lakehouse.adls_errors import code_of, no_container, said
from fraud_mlops.lakehouse.adls_retries import Patient
from fraud_mlops.lakehouse.azure_account import AzureAccount, azure_account
from fraud_mlops.settings import settings

# What it logs of a sign-in that failed is told by `adls_errors`, and would be printed before that
# where nobody has set up logging; who has, still gets it.
logging.getLogger("azure.identity").addHandler(logging.NullHandler())

_ONE_REQUEST = 64 << 20
_BLOCK = 8 << 20
"""Of an upload that is too large for one request; 50,000 are allowed, 400 GB."""

_AT_ONCE = 4
_METADATA = {"is_directory": "false"}

_LOST_BLOCKS = ("InvalidBlockList", "InvalidBlobOrBlock", "BlobModifiedWhileReading")
_ATTEMPTS = 6
_WRITES = ("_put_file", "_pipe_file", "_rm", "_rm_file", "_cp_file", "_delete_version")
_READS = ("_info", "_exists", "_ls", "_find", "_cat_file", "_dir_exists")


def adls(uri: str) -> tuple[AdlsFileSystem, str]:
    """The file system of `uri`'s account, and the path in it. Raises SettingsError."""
    return _connected(azure_account(uri), os.getpid()), AdlsFileSystem._strip_protocol(uri)


@lru_cache(maxsize=8)
def _connected(account: AzureAccount, _process: int) -> AdlsFileSystem:
    """One a process, whatever the thread: a sign-in and its connections are shared."""
    return AdlsFileSystem(account, skip_instance_cache=True, use_listings_cache=False)


class AdlsFileSystem(AzureBlobFileSystem):  # type: ignore[misc]
    """Raises FileNotFoundError for a blob that is not there, else StoreError."""

    protocol = ("abfss", "abfs", "az")
    pins_versions = True

    def __init__(self, account: AzureAccount, **options: Any) -> None:
        self.account = account
        # Named, so that adlfs looks for no other secret in the environment.
        super().__init__(account_name=account.name, anon=True, **options)

    def do_connect(self) -> None:
        options: dict[str, Any] = {
            "retry_policy": Patient(),
            "connection_timeout": min(20.0, settings().store_timeout),
            "read_timeout": settings().store_timeout,
        }
        account = self.account
        if account.sign_in == "connection string":
            self.service_client = BlobServiceClient.from_connection_string(
                str(account.secret), **options
            )
            return
        credential: Any = account.secret
        if account.sign_in == "Entra":
            from azure.identity.aio import DefaultAzureCredential

            self.credential = credential = DefaultAzureCredential()
        self.service_client = BlobServiceClient(account.url, credential=credential, **options)

    def unstrip_protocol(self, path: str) -> str:
        """With the account, so that the address means the same everywhere."""
        container, _, blob = str(self._strip_protocol(path)).partition("/")
        cloud = self.account.url.partition(".blob.")[2].strip("/") or "core.windows.net"
        return f"abfss://{container}@{self.account.name}.dfs.{cloud}/{blob}"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            return super()._open(path, mode, **options)
        block_size = options.pop("block_size", None) or self.blocksize
        return _PinnedBlob(self, path, mode, block_size, **options)

    async def _ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        """In one request of 5,000 names. adlfs lists the insides of neighbours too, `raw2` for
        `raw`."""
        target = str(self._strip_protocol(path)).strip("/")
        container, blob, _ = self.split_path(target)
        if not container:
            return await super()._ls(path, detail=detail, **options)
        inside = f"{blob}/" if blob else None
        async with self.service_client.get_container_client(container) as client:
            found = client.walk_blobs(include=["metadata"], name_starts_with=inside)
            infos = await self._details([item async for item in found])
        by_name = {info["name"]: info for info in infos if info["name"] != target}
        if not by_name:
            by_name = {target: await self._info(target)}
            if by_name[target]["type"] == "directory":
                by_name = {}
        return list(by_name.values()) if detail else sorted(by_name)

    async def _find(self, path: str, *arguments: Any, **options: Any) -> Any:
        found = await super()._find(path, *arguments, **options)
        if not found:
            await self._require_container(path)
        if options.get("detail") and isinstance(found, list):  # adlfs, for what is a file
            return {name: await self._info(name) for name in found}
        return found

    async def _require_container(self, path: str) -> None:
        container, _, _ = self.split_path(path)
        if not await self._container_exists(container):
            raise no_container(self, path)

    async def _put_file(
        self, lpath: str, rpath: str, condition: dict[str, Any] | None = None, **_options: Any
    ) -> None:
        """Visible when all is there. Another upload in blocks that ends in between drops ours."""
        container, blob, _ = self.split_path(rpath)
        for attempt in range(_ATTEMPTS):
            try:
                async with self.service_client.get_blob_client(container, blob) as client:
                    await _upload(client, lpath, condition or {})
                return
            except HttpResponseError as error:
                if code_of(error) not in _LOST_BLOCKS or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(0.2 * 2**attempt)

    def write_version(self, path: str, data: bytes, tag: str | None) -> None:
        """Replaces the version of that tag, or makes the blob (None). Raises ReplacedError."""
        if tag is None:
            with self._first(path):
                self.pipe_file(path, data, overwrite=False)
        else:
            same = MatchConditions.IfNotModified
            self.pipe_file(path, data, etag=tag, match_condition=same)

    def put_version(self, local: str, path: str, tag: str | None) -> None:
        """Uploads a file in place of the version of that tag, or of none. Raises ReplacedError."""
        if tag is None:
            with self._first(path):
                self.put_file(local, path, {"match_condition": MatchConditions.IfMissing})
        else:
            same = {"etag": tag, "match_condition": MatchConditions.IfNotModified}
            self.put_file(local, path, same)

    @contextmanager
    def _first(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            uri = self.unstrip_protocol(path)
            raise ReplacedError(f"{uri}: another writer came first") from None

    async def _delete_version(self, path: str, tag: str) -> None:
        """Removes the version of that tag. Raises ReplacedError."""
        container, blob, _ = self.split_path(path)
        async with self.service_client.get_blob_client(container, blob) as client:
            await client.delete_blob(etag=tag, match_condition=MatchConditions.IfNotModified)

    async def _container_exists(self, container_name: str) -> bool:
        """Also where one may not ask: a signature for blobs alone."""
        try:
            async with self.service_client.get_container_client(container_name) as client:
                await client.get_container_properties()
        except HttpResponseError as error:
            return error.status_code != 404
        return True


class _PinnedBlob(AzureBlobFile):  # type: ignore[misc]
    """Reads the version that was opened. Raises ReplacedError when it is there no more."""

    fs: AdlsFileSystem

    async def _async_fetch_range(self, start: int, end: int | None = None, **_: Any) -> bytes:
        try:
            stream = await self.container_client.download_blob(
                blob=self.blob,
                offset=start,
                length=None if end is None else min(end, self.size) - start,
                etag=self.details["etag"],
                match_condition=MatchConditions.IfNotModified,
                max_concurrency=self.fs.max_concurrency or 1,
            )
            return bytes(await stream.readall())
        except AzureError as error:
            raise said(error, self.fs, self.path, "read") from None

    _fetch_range = sync_wrapper(_async_fetch_range)


async def _upload(client: BlobClient, path: str, condition: dict[str, Any]) -> None:
    """In one request, or in blocks. Bodies are bytes: of a stream that broke, the client does not
    find back to the beginning of the block, and gives up."""
    with open(path, "rb") as stream:  # noqa: PTH123 - a path of fsspec's
        size = os.fstat(stream.fileno()).st_size
        if size <= _ONE_REQUEST:
            await client.upload_blob(
                stream.read(), length=size, overwrite=True, metadata=_METADATA, **condition
            )
            return
        blocks = [BlobBlock(uuid.uuid4().hex) for _ in range(0, size, _BLOCK)]
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def stage(number: int) -> None:
            async with at_once:
                stream.seek(number * _BLOCK)
                data = stream.read(_BLOCK)
                await client.stage_block(blocks[number].id, data, length=len(data))

        tasks = [asyncio.ensure_future(stage(number)) for number in range(len(blocks))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    await client.commit_block_list(blocks, metadata=_METADATA, **condition)


def _telling(name: str, action: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    told = AdlsFileSystem.__dict__.get(name) or getattr(AzureBlobFileSystem, name)

    async def call(self: AdlsFileSystem, path: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await told(self, path, *arguments, **options)
        except AzureError as error:
            at = arguments[0] if name == "_put_file" else path
            raise said(error, self, str(at), action) from None
        except RuntimeError as error:  # adlfs, of a removal
            if isinstance(error.__cause__, AzureError):
                raise said(error.__cause__, self, str(path), action) from None
            raise

    call.__name__ = name
    return call


for _name in (*_WRITES, *_READS):
    setattr(AdlsFileSystem, _name, _telling(_name, "write" if _name in _WRITES else "read"))
for _name in ("put_file", "pipe_file", "rm", "delete_version"):  # three adlfs bound to its own
    setattr(AdlsFileSystem, _name, sync_wrapper(getattr(AdlsFileSystem, f"_{_name}")))

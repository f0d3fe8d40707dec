"""Reading one version of an object by ranges, for readers that know which ranges they want."""

from __future__ import annotations

import io
from typing import Any

from fraud_mlops.errors import ReplacedError

_WHOLE = 1 << 20
"""An object that is no larger comes in one request: fewer round trips weigh more than bytes."""


class RemoteFile(io.RawIOBase):
    """Seekable, unbuffered; the version that stood there when it was opened.

    fs: one whose files are pinned to their version. Raises FileNotFoundError when there is none,
    ReplacedError in a read when that version has gone.
    """

    def __init__(self, fs: Any, path: str, uri: str) -> None:
        self._file = fs.open(path, "rb", cache_type="none")
        self._uri = uri
        self._position = 0
        self.size = int(self._file.size)
        details = self._file.details
        self.tag = str(details.get("ETag") or details.get("etag"))
        self._whole = self._fetch(0, self.size) if self.size <= _WHOLE else None

    def _fetch(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        if self._whole is not None:
            return self._whole[start:stop]
        try:
            self._file.seek(start)
            found = bytes(self._file.read(stop - start))
        except OSError as error:
            if type(error).__name__ == "FileExpired":  # of s3fs
                raise ReplacedError(
                    f"{self._uri}: was replaced by another run meanwhile; try again"
                ) from None
            raise
        if len(found) != stop - start:
            raise ReplacedError(f"{self._uri}: ends before byte {stop:,}; try again")
        return found

    _whole: bytes | None = None

    def read(self, size: int | None = -1) -> bytes:
        stop = self.size if size is None or size < 0 else min(self._position + size, self.size)
        found = self._fetch(self._position, stop)
        self._position += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

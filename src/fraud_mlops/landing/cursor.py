"""What one look at the landing zone leaves to the next, in a line that whoever asks keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Cursor:
    """Written `record@bad@partly`.

    record: name of that of the files seen (`SeenFiles`); None before the first. bad: digest of what
    bad files were judged by. partly: of what claims were judged by that have no partition. Either
    is empty where an older version did not note it, which no digest is.
    """

    record: str | None = None
    bad: str = ""
    partly: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        record, bad, partly, *_ = [*(text or "").split("@", 2), "", ""]
        return cls(record or None, bad, partly)

    def __str__(self) -> str:
        return f"{self.record or ''}@{self.bad}@{self.partly}"

"""What the doctor says of one thing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fraud_mlops.notifications.masking import masker

Status = Literal["ok", "warning", "wrong", "absent"]
_LONGEST = 600
_SPACES = re.compile(r"[ \t]*\n[ \t]*")


class Finding(BaseModel):
    """status: wrong, something that the settings ask for does not work; warning, it works and a
    person should look; absent, an optional program that is not here. mend: the command for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    status: Status
    says: str
    mend: str | None = None


def ok(name: str, says: str) -> Finding:
    return Finding(name=name, status="ok", says=says)


def warning(name: str, says: str, mend: str | None = None) -> Finding:
    return Finding(name=name, status="warning", says=says, mend=mend)


def wrong(name: str, says: str, mend: str | None = None) -> Finding:
    return Finding(name=name, status="wrong", says=says, mend=mend)


def absent(name: str, says: str, mend: str | None = None) -> Finding:
    return Finding(name=name, status="absent", says=says, mend=mend)


def without_secrets(finding: Finding, mask: Callable[[str], str] | None = None) -> Finding:
    """What clients say of a failure may hold what they were given."""
    hide = mask or masker(os.environ)
    says = _SPACES.sub("\n", hide(finding.says)).strip()
    if len(says) > _LONGEST:
        says = says[:_LONGEST] + " ..."
    return finding.model_copy(update={"says": says, "mend": finding.mend and hide(finding.mend)})

"""Which code a run on Databricks runs: a Git repository at one commit.

A branch is settled to a commit before the run starts, by `git ls-remote`, where it can be seen from
here; else Databricks takes the head of the branch, and says afterwards which it was.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from dagster_metaflow.backends.protocol import LaunchError, UsageError

PROVIDERS = {
    "github.com": "gitHub",
    "dev.azure.com": "azureDevOpsServices",
    "gitlab.com": "gitLab",
    "bitbucket.org": "bitbucketCloud",
}
_SECONDS = 20
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Source:
    """url, provider: as the Jobs API takes them. branch, commit: one of them, or both when the
    branch is settled to the commit."""

    url: str
    provider: str
    branch: str | None
    commit: str | None

    def as_dict(self) -> dict[str, str]:
        told = {"git_url": self.url, "git_provider": self.provider}
        if self.commit is not None:
            return {**told, "git_commit": self.commit}
        return {**told, "git_branch": str(self.branch)}

    def words(self) -> str:
        at = f"commit {self.commit}" if self.commit else f"the head of branch {self.branch}"
        of = f" (branch {self.branch})" if self.commit and self.branch else ""
        return f"{self.url} at {at}{of}"


def provider_of(url: str) -> str | None:
    """By the address's host; None for a host of one's own."""
    host = (urlsplit(url).hostname or "").lower()
    found = [name for known, name in PROVIDERS.items() if host in (known, f"www.{known}")]
    if not found and host.endswith(".visualstudio.com"):
        return "azureDevOpsServices"
    return found[0] if found else None


def refuse_login(url: str) -> None:
    """It would stand in the run's settings, for everybody to read. Raises UsageError."""
    parts = urlsplit(url)
    if parts.password or (parts.username and parts.scheme in ("http", "https")):
        raise UsageError(
            f"the Git address on {parts.hostname} has a login in it. Take it out: Databricks signs "
            "in with the Git credentials of the user or service principal that runs the job."
        )


def settled(source: Source) -> Source:
    """With the commit that its branch is at now, where it can be seen from here."""
    if source.commit is not None:
        if not _COMMIT.fullmatch(source.commit):
            raise UsageError(f"commit {source.commit!r}: give all 40 digits of its hash")
        return source
    told = _git(["ls-remote", "--exit-code", source.url, f"refs/heads/{source.branch}"])
    if told is None:
        return source
    return Source(source.url, source.provider, source.branch, told.split()[0])


def root_of(file: Path) -> Path | None:
    """Of the checkout that the file is in."""
    told = _git(["-C", str(file.parent), "rev-parse", "--show-toplevel"])
    return Path(told.strip()) if told else None


def text_at(root: Path, commit: str | None, path: str) -> str:
    """A file as it is at the commit, or as it lies there when this checkout lacks the commit."""
    told = None if commit is None else _git(["-C", str(root), "show", f"{commit}:{path}"])
    if told is not None:
        return told
    try:
        return (root / path).read_text(encoding="utf-8")
    except OSError as error:
        raise LaunchError(f"the run's requirements cannot be read: {error}") from None


def differs(root: Path, commit: str | None) -> bool:
    """Whether what lies there is something else than what will run."""
    head = _git(["-C", str(root), "rev-parse", "HEAD"])
    changed = _git(["-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return commit is not None and (bool(changed) or (head or "").strip() != commit)


def _git(arguments: list[str]) -> str | None:
    """What it says; None when it fails, for whatever reason."""
    return _said(tuple(arguments)) if "show" in arguments else _ask(tuple(arguments))


@lru_cache(maxsize=64)
def _said(arguments: tuple[str, ...]) -> str | None:
    """Of a commit, which does not change."""
    return _ask(arguments)


def _ask(arguments: tuple[str, ...]) -> str | None:
    environment: Mapping[str, str] = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            ["git", *arguments],  # noqa: S607 - the user's own
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

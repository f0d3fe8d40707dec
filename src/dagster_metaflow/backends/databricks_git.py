"""Which code a run on Databricks runs: a Git repository at one commit.

A branch is settled to a commit before the run starts, by `git ls-remote`, where it can be seen from
here; else Databricks takes the head of the branch, and says afterwards which it was.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
_SECONDS, _FETCH_SECONDS = 20, 120
_FAILED = 128  # as Git ends
_TIMED_OUT = 124  # as `timeout` has it
PACKAGES_OF_HERE = (
    "The commit is not known yet: packages are those that the requirements of this checkout name."
)
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
    """With the commit that its branch is at now, where it can be seen from here.

    Raises UsageError for a branch that the repository does not have.
    """
    if source.commit is not None:
        if not _COMMIT.fullmatch(source.commit):
            raise UsageError(f"commit {source.commit!r}: give all 40 digits of its hash")
        return source
    ref = f"refs/heads/{source.branch}"
    code, told = _ran("ls-remote", source.url, ref)
    if code:
        return source
    # Git takes it for a pattern, and shows all that ends so.
    commits = [line.partition("\t")[0] for line in told.splitlines() if line.endswith(f"\t{ref}")]
    if not commits:
        raise UsageError(f"{source.url} has no branch {source.branch!r} (DATABRICKS_GIT_BRANCH)")
    return Source(source.url, source.provider, source.branch, commits[0])


def root_of(file: Path) -> Path | None:
    """Of the checkout that the file is in."""
    code, told = _ran("-C", str(file.parent), "rev-parse", "--show-toplevel")
    return None if code else Path(told.strip())


def text_at(root: Path, source: Source, path: str) -> str:
    """A file as it is at the commit, fetched where this checkout lacks it; as it lies here while it
    is not known which commit that is. Raises LaunchError when it cannot be had."""
    if source.commit is not None:
        with _repository(root, source.url, source.commit) as there:
            return _shown(there, source.commit, path)
    try:
        return (root / path).read_text(encoding="utf-8")
    except OSError as error:
        raise LaunchError(f"the run's requirements cannot be read: {error}") from None


def require_files(root: Path, source: Source, paths: Sequence[str]) -> None:
    """Where the commit is known. Raises UsageError for a file that is not in it, LaunchError when
    it cannot be looked into."""
    if source.commit is None:
        return
    with _repository(root, source.url, source.commit) as there:
        lacking = [path for path in paths if not _has(there, f"{source.commit}:{path}")]
    if lacking:
        raise UsageError(
            f"{', '.join(lacking)}: not in commit {source.commit}, which is what runs. Commit and "
            "push it, or name another branch or commit"
        )


def differs(root: Path, commit: str | None) -> bool:
    """Whether what lies there is something else than what will run."""
    _, head = _ran("-C", str(root), "rev-parse", "HEAD")
    _, changed = _ran("-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return commit is not None and (bool(changed) or head.strip() != commit)


@contextmanager
def _repository(root: Path, url: str, commit: str) -> Iterator[Path]:
    """One that has the commit: this checkout, else what is fetched of it."""
    if _has(root, f"{commit}^{{commit}}"):
        yield root
        return
    fetched = _fetched(url, commit)  # held: it is gone with the last who has it
    yield fetched.folder


class _Fetched:
    """A bare repository with the commit alone, in a folder that goes when this does."""

    def __init__(self, url: str, commit: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="databricks-git-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        at = ("-C", str(self.folder))
        _ran(*at, "init", "--bare", "--quiet")
        fetch = ("fetch", "--quiet", "--depth=1", url, commit)
        if code := _ran(*at, *fetch, seconds=_FETCH_SECONDS)[0]:
            took = f"was not fetched within {_FETCH_SECONDS:g} s. Is it large, or the network slow?"
            raise LaunchError(
                f"what is in commit {commit} of {url} is not known: this checkout lacks it, and it "
                f"{took if code == _TIMED_OUT else 'cannot be fetched. Is it pushed?'} "
                "Run git fetch here, or sign Git in"
            )


@lru_cache(maxsize=4)
def _fetched(url: str, commit: str) -> _Fetched:
    """A commit does not change; failures are raised, and so are not remembered."""
    return _Fetched(url, commit)


def _shown(root: Path, commit: str, path: str) -> str:
    code, told = _ran("-C", str(root), "show", f"{commit}:{path}")
    if code:
        raise LaunchError(
            f"the run's requirements cannot be read: {path} is not in commit {commit}"
        )
    return told


def _has(root: Path, what: str) -> bool:
    return not _ran("-C", str(root), "cat-file", "-e", what)[0]


def _ran(*arguments: str, seconds: float = _SECONDS) -> tuple[int, str]:
    """Exit code, and what it says; _TIMED_OUT when there was no end in time."""
    environment: Mapping[str, str] = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            ["git", *arguments],  # noqa: S607 - the user's own
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _TIMED_OUT, ""
    except OSError:
        return _FAILED, ""
    return done.returncode, done.stdout

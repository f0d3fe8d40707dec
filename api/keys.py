"""API keys: long random words of which only the SHA-256 is kept.

    python -m api.keys add --file keys.json --id claims-desk --scopes score
    python -m api.keys remove --file keys.json --id claims-desk

A key has 256 bits, so that a plain hash of it cannot be guessed back and needs no slow one. Two
keys may bear one id while one replaces the other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
from filelock import FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fraud_mlops.errors import SettingsError, first_mistake
from fraud_mlops.lakehouse.stores import atomic_writer

Scope = Literal["score", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = ("score", "metrics", "admin")
PREFIX = "fk_"
_AWAY = 0.1
"""Seconds that the file may be away for while somebody puts another in its place."""
_LOCK_SECONDS = 30

log = logging.getLogger("fraud.api")


class Key(BaseModel):
    """sha256: of the key, hexadecimal. rate_limit: requests a second, instead of the setting's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = ("score",)
    not_after: AwareDatetime | None = None
    rate_limit: float | None = Field(None, ge=0)


class KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()


def read_keys(path: Path) -> KeyFile:
    """Raises SettingsError that names the field, and no value."""
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(
            f"FRAUD_API_KEYS_FILE={path}: cannot be read ({error.strerror}); make one: "
            "python -m api.keys add"
        ) from None
    except ValidationError as error:
        raise SettingsError(f"FRAUD_API_KEYS_FILE={path}: {first_mistake(error)}") from None


class KeyRing:
    """The keys of a file as it stands; looked at again at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = 0.0
        self._tag: tuple[int, ...] | None = None
        self._tag = self._facts()
        self._keys = read_keys(path).keys

    def find(self, presented: str) -> Key | None:
        """The key, if it is one of ours and not expired. Compares with all, in constant time."""
        self._look()
        digest = hashlib.sha256(presented.encode()).hexdigest()
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        expired = found and found.not_after and found.not_after < datetime.now(UTC)
        return None if expired else found

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < 1:
            return
        self._looked = now
        facts = self._facts()
        if facts is None and self._keys:
            time.sleep(_AWAY)
            facts = self._facts()
        if facts is None:
            self._revoke_all()
            return
        if facts == self._tag:
            return
        try:
            self._keys = read_keys(self._path).keys
        except SettingsError as error:  # half an edit must not lock everybody out
            log.warning("%s; the keys read before stay in force, and it is tried again", error)
            return
        self._tag = facts
        log.info("API keys were read anew: %d", len(self._keys))

    def _revoke_all(self) -> None:
        """As whoever has removed the file means it."""
        if self._keys:
            log.warning("%s is gone: no API key is good until it is there again", self._path)
        self._keys, self._tag = (), None

    def _facts(self) -> tuple[int, ...] | None:
        """None for a file that is not there; what cannot be told stays as it was."""
        try:
            facts = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return self._tag
        return facts.st_ino, facts.st_mtime_ns, facts.st_size


@click.group()
def main() -> None:
    """Make and remove API keys."""


@main.command()
@click.option("--file", "path", type=click.Path(path_type=Path), required=True)
@click.option("--id", "name", required=True, help="Who it is for; stands in the prediction log.")
@click.option(
    "--scopes", default="score", show_default=True, help="score, metrics, admin; with commas."
)
@click.option("--not-after", help="When it expires, ISO 8601 with a zone.")
def add(path: Path, name: str, scopes: str, not_after: str | None) -> None:
    """Make a key, and show it once."""
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        key = Key.model_validate(
            {
                "id": name,
                "sha256": hashlib.sha256(secret.encode()).hexdigest(),
                "scopes": [scope.strip() for scope in scopes.split(",")],
                "not_after": not_after,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise click.UsageError(f"{first['loc'][0]}: {first['msg']}") from None
    with _alone(path):
        known = read_keys(path).keys if path.exists() else ()
        _write(path, (*known, key))
    click.echo(secret)
    click.echo(f"for {name}, shown this once; {path} keeps its hash only", err=True)


@main.command()
@click.option("--file", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--id", "name", required=True)
def remove(path: Path, name: str) -> None:
    """Remove every key of an id; servers notice within a second."""
    with _alone(path):
        known = read_keys(path).keys
        left = tuple(key for key in known if key.id != name)
        if len(left) == len(known):
            raise click.UsageError(f"{path} has no key of {name}")
        _write(path, left)
    click.echo(f"{len(known) - len(left)} key(s) of {name} removed", err=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Of two that change the file at once the second waits. The lock is a file beside it: the file
    itself is replaced. What is wrong with either is told in a line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise click.ClickException(
            f"{path}: somebody else has been changing it for {_LOCK_SECONDS} s; try again"
        ) from None
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        told = error.strerror or str(error)
        raise click.ClickException(f"{path}: cannot be changed ({told})") from None


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    """With the owner and the rights that it had: a server that runs as another user reads it on,
    or a key that was removed would stay good there."""
    data = KeyFile(keys=keys).model_dump(mode="json", exclude_none=True)
    before = path.stat() if path.exists() else None
    with atomic_writer(str(path.resolve())) as stream:
        stream.write(json.dumps(data, indent=1).encode() + b"\n")
        made = os.fstat(stream.fileno())
        if before and (before.st_uid, before.st_gid) != (made.st_uid, made.st_gid):
            os.fchown(stream.fileno(), before.st_uid, before.st_gid)
        os.fchmod(stream.fileno(), stat.S_IMODE(before.st_mode) if before else 0o600)


if __name__ == "__main__":
    main()

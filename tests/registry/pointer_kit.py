"""A registry whose pointers are moved by somebody with a name and a reason."""

from __future__ import annotations

from pathlib import Path

from registry_kit import DATASET, publish

from fraud_mlops.registry.going_back import rollback
from fraud_mlops.registry.pointers import (
    Pointer,
    history,
    promote,
    read_pointer,
    set_challenger,
    withdraw,
)

ME = {"by": "ada", "reason": "because"}


class Registry:
    """One dataset's registry with bundles a, b, c, ... in it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def add(self, name: str) -> str:
        return publish(self.uri, name)

    @property
    def champion(self) -> str | None:
        pointer = read_pointer(self.uri, DATASET, "champion")
        return pointer.version if pointer else None

    @property
    def challenger(self) -> str | None:
        pointer = read_pointer(self.uri, DATASET, "challenger")
        return pointer.version if pointer else None

    def promote(self, version: str, expected: str | None = "current") -> Pointer:
        expected = self.champion if expected == "current" else expected
        return promote(self.uri, DATASET, version, expected=expected, **ME)

    def rollback(self, to: str | None = None) -> str:
        return rollback(self.uri, DATASET, to=to, **ME).version

    def break_off_a_withdrawal(self, version: str) -> None:
        """The machine goes away when all but the last of it is done: the pointer still stands."""
        path = self.folder / "champion.json"
        kept = path.read_bytes()
        withdraw(self.uri, DATASET, version, **ME)
        path.write_bytes(kept)

    def challenge(self, version: str) -> Pointer:
        return set_challenger(self.uri, DATASET, version, **ME)

    def moves(self, role: str = "champion") -> list[str]:
        return [move.version for move in history(self.uri, DATASET) if move.role == role]

    @property
    def folder(self) -> Path:
        return Path(self.uri) / DATASET

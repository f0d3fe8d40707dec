"""One error tree. Every message says what happened, where, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pydantic import ValidationError


class FraudMlopsError(Exception):
    """A mistake or a failure that a person can act on; shown without a stack trace."""

    mend: str | None = None
    """The command for what is wrong, which `fraud-mlops doctor` shows beside the message."""

    def mended_by(self, command: str | None) -> Self:
        self.mend = command
        return self


class SettingsError(FraudMlopsError):
    """Environment variables are missing or contradict one another."""


class ContractError(FraudMlopsError):
    """A dataset contract is wrong. The message names file, line and field."""


class SourceError(FraudMlopsError):
    """A source file cannot be read. The message names file and, where known, row and column."""


class NotThereError(SourceError):
    """The place of a source is not there yet."""


class QualityError(FraudMlopsError):
    """Too many claims broke the contract; nothing was published."""


class LakehouseError(FraudMlopsError):
    """A partition is missing, damaged, or not the one that was pinned (OvertakenError)."""


class OvertakenError(LakehouseError):
    """A partition is no longer the one that was pinned: another run has replaced it."""


class StoreError(LakehouseError, OSError):
    """A store did not do what was asked: refused, out of reach, too busy, container missing."""


class ReplacedError(StoreError):
    """An object was replaced while it was read, or since it was looked at."""


class SplitError(FraudMlopsError):
    """The out-of-time split leaves a window without what it needs."""


class TrainingError(FraudMlopsError):
    """A candidate could not be trained."""


class BundleError(FraudMlopsError):
    """A model bundle is missing, truncated or tampered with."""


MEND = "fetch the bundle again, or roll back to another version"
"""What to do about a BundleError."""


class RegistryError(FraudMlopsError):
    """A champion pointer cannot be moved as asked."""


class WarehouseError(FraudMlopsError):
    """The warehouse refuses what is asked of it, or holds something else than it should."""


class WarehouseUnavailable(WarehouseError):  # noqa: N818 - a state that passes, not a mistake
    """The warehouse cannot be reached, or somebody else is at it; worth trying again."""


def first_mistake(error: ValidationError, whole: str = "file") -> str:
    """`where: what` of what pydantic found first, and never the value: it may be a secret. whole:
    what it is called where no field of it is to blame."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"

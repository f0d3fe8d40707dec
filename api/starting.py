"""What would keep a server from starting, found before there are workers: one that ends is begun
anew, for ever. Imported before prometheus_client may be, see `serve`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from api.access import Access
from api.settings import ApiSettings
from fraud_mlops.errors import FraudMlopsError, SettingsError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import absolute, models_root
from fraud_mlops.serving.waiting_files import waiting_folder
from fraud_mlops.settings import Settings

T = TypeVar("T")


def check(given: ApiSettings, project: Settings) -> Access:
    """Who may ask, once keys, roots and the log's folder have been looked at. Raises SettingsError
    or LakehouseError."""
    access = Access(given)
    root = absolute(project.lakehouse_uri)
    models_root(root, project.model_uri)
    if given.log_predictions:
        _check_folder(waiting_folder(given.log_folder, Lakehouse(root), given.dataset))
    return access


def _check_folder(path: Path) -> None:
    """Tried where it will be made: the log makes it, and syncs what it has made."""
    path = path.absolute()
    try:
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        told = error.strerror or type(error).__name__
        raise SettingsError(
            f"FRAUD_API_LOG_FOLDER: nothing can be written to {path} ({told}); predictions wait "
            "there for the lakehouse. Name another folder"
        ) from None


def or_end(start: Callable[[], T]) -> T:
    """A person's mistake is told without the way to it."""
    try:
        return start()
    except FraudMlopsError as error:
        raise SystemExit(f"error: {error}") from None

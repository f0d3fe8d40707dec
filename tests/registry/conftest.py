"""Registries in a folder, and in another store."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from pointer_kit import Registry


@pytest.fixture(params=["folder", "memory"])
def any_registry(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "folder":
        yield Registry(str(tmp_path / "models"))
        return
    yield Registry("memory://pointers/models")
    fsspec.filesystem("memory").rm("/pointers", recursive=True)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "models"))

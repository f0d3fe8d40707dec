"""One published dataset for all tests of the API; what changes it works on a copy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from api_kit import Published, make_published

SHARED = shutil.ignore_patterns("raw", "features", "prediction_log")
"""What a copy does not need, and what other tests have left."""


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return make_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def own(published: Published, tmp_path: Path) -> Published:
    """A copy whose pointers may be moved."""
    root = tmp_path / "lake"
    shutil.copytree(published.root, root, ignore=SHARED)
    return replace(published, root=root)

"""A run that several modules look at."""

from __future__ import annotations

import pytest
from run_kit import Run, planned


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first run of a dataset: nothing is published yet."""
    return Run(planned(tmp_path_factory.mktemp("lake"), "1", "poor", "good"))

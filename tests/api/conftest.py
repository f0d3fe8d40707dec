"""One published dataset for all tests of the API; what changes it works on a copy."""

from __future__ import annotations

import pytest
from api_kit import Published, make_published


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return make_published(tmp_path_factory.mktemp("published"))

"""The contract's assertions tell what they compared; its toy is the one of the launch tests."""

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("dagster_metaflow.testing.contract")
sys.path.append(str(Path(__file__).parents[1] / "dagster_metaflow"))

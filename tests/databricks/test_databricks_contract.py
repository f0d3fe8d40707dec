"""The backend on Databricks does what every backend does."""

from __future__ import annotations

from dagster_metaflow.testing.contract import BackendContract


class TestDatabricks(BackendContract):
    """With the fixture `stage` of this folder."""

"""dagster.yaml's instance: SQLite, or PostgreSQL where the environment names one.

Dagster takes the kind of storage from a key in dagster.yaml, and a key cannot come from the
environment. What stands for a key that is not written, the default, can.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click
from dagster import DagsterInstance
from dagster._core.instance import InstanceRef
from dagster._core.instance.ref import configurable_storage_data

URL_VARIABLE = "DAGSTER_POSTGRES_URL"
PASSWORD_VARIABLE = "DAGSTER_POSTGRES_PASSWORD"  # noqa: S105 - a name, not a secret


class FraudInstance(DagsterInstance):
    """Named by dagster.yaml as `instance_class`; differs by its default storage."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """No settings of its own in dagster.yaml."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """What dagster.yaml leaves out; `base_dir` is DAGSTER_HOME, or what stands in for it.

        Raises:
            click.ClickException: a password without an address to use it for. Every Dagster
                command is a click command, so this ends as one line.
        """
        defaults = InstanceRef.config_defaults(base_dir)
        if not os.environ.get(URL_VARIABLE):
            if os.environ.get(PASSWORD_VARIABLE):
                raise click.ClickException(
                    f"{PASSWORD_VARIABLE} is set and {URL_VARIABLE} is not: set it to the server, "
                    "as in postgresql://dagster@db.example.org:5432/dagster, or unset both to keep "
                    "Dagster's history in SQLite."
                )
            return defaults
        storage = {"module": "fraud_assets.postgres_storage", "class": "PostgresFromEnvironment"}
        unified, runs, events, schedules = configurable_storage_data({"custom": storage}, defaults)
        return {
            **defaults,
            "storage": unified,
            "run_storage": runs,
            "event_log_storage": events,
            "schedule_storage": schedules,
        }

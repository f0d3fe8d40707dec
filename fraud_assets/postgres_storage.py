"""Dagster's PostgreSQL storage, with address and password from the environment.

Neither is written into the instance's description, which Dagster shows in its UI and hands to
its processes on their command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fraud_assets.instance import PASSWORD_VARIABLE, URL_VARIABLE

try:
    from dagster_postgres import DagsterPostgresStorage
    from dagster_postgres.utils import DagsterPostgresException
except ImportError:
    raise click.ClickException(
        f"{URL_VARIABLE} is set, and Dagster's PostgreSQL client is not installed: "
        "pip install 'fraud-mlops[postgres]', or unset the variable to use SQLite."
    ) from None

_EXAMPLE = "postgresql://dagster@db.example.org:5432/dagster"


class PostgresFromEnvironment(DagsterPostgresStorage):
    """Tables are made in an empty database; `dagster instance migrate` upgrades older ones."""

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PostgresFromEnvironment:
        """Connects, and waits some seconds for a server that is starting.

        Raises:
            click.ClickException: the address is wrong, or nobody answers there.
        """
        del config_value
        url = address()
        try:
            return cls(url.render_as_string(hide_password=False), inst_data=inst_data)
        except (SQLAlchemyError, DagsterPostgresException) as error:
            raise click.ClickException(
                f"PostgreSQL at {shown(url)} ({URL_VARIABLE}) cannot be used: {_reason(error)} "
                f"Check that it runs, the database is there, and {PASSWORD_VARIABLE} is right."
            ) from None


def address() -> URL:
    """URL_VARIABLE with the password of PASSWORD_VARIABLE in it.

    Raises:
        click.ClickException: it is no such address, or carries the password itself. The message
            does not repeat it.
    """
    try:
        url = make_url(os.environ[URL_VARIABLE])
        usable = url.get_backend_name() == "postgresql" and bool(url.database)
    except (ArgumentError, ValueError):
        usable = False
    if not usable:
        raise click.ClickException(
            f"{URL_VARIABLE} is no PostgreSQL address. It looks like this: {_EXAMPLE}"
        )
    if url.password or {"password", "passfile"} & set(url.query):
        raise click.ClickException(
            f"{URL_VARIABLE} holds a password, and addresses end up in logs: "
            f"move it to {PASSWORD_VARIABLE}."
        )
    # SQLAlchemy's own default is another driver than the one that dagster-postgres brings.
    url = url.set(drivername="postgresql+psycopg2")
    password = os.environ.get(PASSWORD_VARIABLE)
    return url.set(password=password) if password else url


def shown(url: URL) -> str:
    """Server and database, for people."""
    return f"{url.host or 'the local socket'}:{url.port or 5432}/{url.database}"


def _reason(error: BaseException) -> str:
    """What the server or the driver said, in one line; never the address."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    text = (said or [type(error).__name__])[0].strip()
    return text if text.endswith(".") else text + "."

"""How Snowflake is reached: settings, checked all at once, as parameters of its connector."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import Settings
from fraud_mlops.warehouse.names import Tables, own_name
from fraud_mlops.warehouse.snowflake_key import expanded, wrong_key

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ADDRESS = ".snowflakecomputing."
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_NEEDED = ("user", "warehouse", "database", "schema")

LOCK_SECONDS = 420
"""Snowflake rolls back a transaction that blocks others once it has been idle for five minutes."""
STATEMENT_SECONDS = 600
LOGIN_SECONDS = 30


@dataclass(frozen=True)
class SnowflakeOptions:
    """Names in Snowflake's upper case; secrets are not shown."""

    account: str
    user: str
    warehouse: str
    database: str
    schema: str
    tables: Tables
    role: str | None = None
    password: SecretStr | None = None
    private_key_path: Path | None = None
    private_key_passphrase: SecretStr | None = None
    host: str | None = None
    port: int | None = None
    protocol: str | None = None
    network_seconds: int = field(default=LOCK_SECONDS + 60, kw_only=True)
    login_seconds: int = field(default=LOGIN_SECONDS, kw_only=True)
    """How long one request may take, retries of the connector's included."""

    @classmethod
    def of(cls, settings: Settings) -> SnowflakeOptions | None:
        """None when no SNOWFLAKE_ variable is set that says where Snowflake is.

        Raises SettingsError, which names everything that is missing or wrong.
        """
        given = {
            name: getattr(settings, f"snowflake_{name}")
            for name in ("account", *_NEEDED, "role", "password", "private_key_path")
        }
        if not any(given.values()):
            return None
        if given["private_key_path"]:
            given["private_key_path"] = expanded(given["private_key_path"])
        wrong = [*_missing(given), *_wrong(given, settings)]
        if wrong:
            listed = "\n".join(f"  {line}" for line in wrong)
            raise SettingsError(
                f"Snowflake is not set up whole:\n{listed}\nSet them all, or none, and metrics "
                "go into a DuckDB file; docs/warehouse.md"
            )
        return cls(
            account=given["account"],
            user=given["user"],
            warehouse=own_name(given["warehouse"], "SNOWFLAKE_WAREHOUSE"),
            database=own_name(given["database"], "SNOWFLAKE_DATABASE"),
            schema=own_name(given["schema"], "SNOWFLAKE_SCHEMA"),
            role=given["role"] and own_name(given["role"], "SNOWFLAKE_ROLE"),
            tables=Tables(settings.snowflake_table),
            password=None if given["private_key_path"] else given["password"],
            private_key_path=given["private_key_path"],
            private_key_passphrase=settings.snowflake_private_key_passphrase,
            host=settings.snowflake_host,
            port=settings.snowflake_port,
            protocol=settings.snowflake_protocol,
        )

    @property
    def server(self) -> str:
        """Host and port that the connector speaks to."""
        host = self.host or f"{self.account}.snowflakecomputing.com"
        return f"{host}:{self.port}" if self.port else host

    @property
    def table_name(self) -> str:
        return f"{self.database}.{self.schema}.{self.tables.table}"

    @property
    def address(self) -> str:
        """Where the table is, for people."""
        return f"snowflake {self.account} {self.table_name}"

    def public(self) -> dict[str, Any]:
        """The connector's parameters that may be shown."""
        found = {
            "account": self.account,
            "user": self.user,
            "warehouse": self.warehouse,
            "database": self.database,
            "schema": self.schema,
            "role": self.role,
        }
        return {name: value for name, value in found.items() if value}

    def further(self) -> dict[str, Any]:
        """Those that say how, rather than where."""
        found = {
            "host": self.host,
            "port": self.port,
            "protocol": self.protocol,
            "paramstyle": "qmark",  # values go beside the statement, never into it
            "autocommit": True,  # transactions are begun and committed by statements
            "application": "fraud_mlops",
            "login_timeout": self.login_seconds,
            "network_timeout": self.network_seconds,
            "session_parameters": {
                "QUERY_TAG": "fraud-mlops metrics sync",
                "TIMEZONE": "UTC",
                "LOCK_TIMEOUT": LOCK_SECONDS,
                "STATEMENT_TIMEOUT_IN_SECONDS": STATEMENT_SECONDS,
            },
        }
        return {name: value for name, value in found.items() if value is not None}

    def secret(self) -> dict[str, Any]:
        """What proves who one is. Not to be shown."""
        if self.private_key_path is None:
            return {"password": self.password.get_secret_value()} if self.password else {}
        found: dict[str, Any] = {"private_key_file": str(self.private_key_path)}
        if self.private_key_passphrase is not None:
            found["private_key_file_pwd"] = self.private_key_passphrase.get_secret_value()
        return found


def _missing(given: dict[str, Any]) -> list[str]:
    missing = [
        f"SNOWFLAKE_{name.upper()} is not set" for name in ("account", *_NEEDED) if not given[name]
    ]
    if not given["password"] and not given["private_key_path"]:
        missing.append(
            "neither SNOWFLAKE_PRIVATE_KEY_PATH nor SNOWFLAKE_PASSWORD is set; Snowflake asks "
            "services for a key pair"
        )
    return missing


def _wrong(given: dict[str, Any], settings: Settings) -> list[str]:
    wrong = []
    account = given["account"]
    if account and (_ADDRESS in account.lower() or not _ACCOUNT.fullmatch(account)):
        wrong.append(
            f"SNOWFLAKE_ACCOUNT={account!r} is no account identifier; give `myorg-account`, the "
            "part of its address before .snowflakecomputing.com"
        )
    wrong += wrong_names(settings)
    if key := given["private_key_path"]:
        wrong += wrong_key(key, settings.snowflake_private_key_passphrase)
    if (host := settings.snowflake_host) and not (_HOST.fullmatch(host) or host in _LOOPBACK):
        shown = "" if "@" in host else f"={host!r}"
        wrong.append(
            f"SNOWFLAKE_HOST{shown} is no name of a host: give that alone, such as "
            "`myorg-account.privatelink.snowflakecomputing.com`, without https://, login and path; "
            "its port is SNOWFLAKE_PORT"
        )
    if settings.snowflake_protocol == "http" and settings.snowflake_host not in _LOOPBACK:
        wrong.append(
            "SNOWFLAKE_PROTOCOL=http sends secrets in the clear; it is for a SNOWFLAKE_HOST on "
            "this machine"
        )
    return wrong


def wrong_names(settings: Settings) -> list[str]:
    """Which of the settings that name objects name none."""
    wrong = []
    for name in ("warehouse", "database", "schema", "role", "reader_role", "table"):
        value = getattr(settings, f"snowflake_{name}")
        try:
            own_name(value or "unset", f"SNOWFLAKE_{name.upper()}")
        except SettingsError as error:
            wrong.append(str(error))
    return wrong

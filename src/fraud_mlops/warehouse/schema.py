"""infra/snowflake/schema.sql, the one source of the warehouse's tables and views."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import Settings
from fraud_mlops.warehouse.names import TABLE, Tables, own_name
from fraud_mlops.warehouse.options import SnowflakeOptions, wrong_names

_PACKAGED = Path(__file__).parents[1] / "_infra" / "schema.sql"
_CHECKOUT = Path(__file__).parents[3] / "infra" / "snowflake" / "schema.sql"

DATABASE, SCHEMA, COMPUTE = "FRAUD", "METRICS", "FRAUD_WH"
LOADER, READER = "FRAUD_LOADER", "FRAUD_BI_READER"

_COMMENT = re.compile(r"--[^\n]*")
_PORTABLE = re.compile(r"(CREATE TABLE|CREATE OR REPLACE VIEW|INSERT INTO)\b")
_VIEW = re.compile(r"CREATE OR REPLACE VIEW\b")
_GRANTS = " COPY GRANTS"
"""Of a view that is replaced, kept by Snowflake; DuckDB has no grants."""
_VERSION = re.compile(r"'(\w+)' AS SCHEMA_VERSION")


@dataclass(frozen=True)
class Names:
    """What objects are called: no account, and nothing secret."""

    warehouse: str = COMPUTE
    database: str = DATABASE
    schema: str = SCHEMA
    role: str = LOADER
    reader_role: str = READER
    tables: Tables = field(default_factory=Tables)

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """Those that are set, else the file's own.

        Raises SettingsError for what is no name, and for one role that should be two.
        """
        if wrong := wrong_names(settings):
            raise SettingsError("\n".join(wrong))
        given = {
            name: own_name(value, name)
            for name in ("warehouse", "database", "schema", "role", "reader_role")
            if (value := getattr(settings, f"snowflake_{name}"))
        }
        made = cls(**given, tables=Tables(settings.snowflake_table))
        if made.reader_role == made.role:
            raise SettingsError(
                f"SNOWFLAKE_READER_ROLE and SNOWFLAKE_ROLE are both {made.role}: who reads views "
                "would write the table; give two names"
            )
        return made


@cache
def schema_text() -> str:
    """The file, from the checkout or from an installed package."""
    for path in (_CHECKOUT, _PACKAGED):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SettingsError(f"{_CHECKOUT} is missing; check the repository out whole")


def statements(text: str) -> list[str]:
    """SQL without comments, cut at semicolons; no text in it holds one."""
    return [part.strip() for part in _COMMENT.sub("", text).split(";") if part.strip()]


def portable_statements(tables: Tables) -> tuple[list[str], list[str]]:
    """Tables with the lock's row, and views, as both engines read them."""
    renamed = _renamed(schema_text(), {TABLE: tables.table}).replace(_GRANTS, "")
    found = [part for part in statements(renamed) if _PORTABLE.match(part)]
    views = [part for part in found if _VIEW.match(part)]
    return [part for part in found if part not in views], views


def schema_version() -> str:
    """As the file states it: `digest` of its tables and views."""
    stated = _VERSION.search(schema_text())
    if stated is None:
        raise SettingsError("infra/snowflake/schema.sql states no version; check it out anew")
    return stated[1]


def digest() -> str:
    """Of the tables and views, but for the one that states it."""
    tables, views = portable_statements(Tables())
    text = "\n".join([*tables, *(view for view in views if not _VERSION.search(view))])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def for_snowflake(names: Names | SnowflakeOptions) -> str:
    """The file with these names."""
    return _renamed(
        schema_text(),
        {
            TABLE: names.tables.table,
            COMPUTE: names.warehouse,
            LOADER: names.role or LOADER,
            READER: names.reader_role if isinstance(names, Names) else READER,
            f"{DATABASE}.{SCHEMA}": f"{names.database}.{names.schema}",
            DATABASE: names.database,
        },
    )


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Whole names only; the table's also where more follows, as in FRAUD_MODEL_METRICS_SYNC."""
    longest = sorted(names, key=len, reverse=True)
    pattern = "|".join(
        rf"(?<!\w){re.escape(name)}" + (r"(?=\b|_SYNC\b|_LOCK\b)" if name == TABLE else r"\b")
        for name in longest
    )
    return re.sub(pattern, lambda match: names[match[0]], text)

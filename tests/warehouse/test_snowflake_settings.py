"""What a person has set wrong is told: all at once, before connecting, and without a secret."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from snow_proxy import Proxy, refused
from warehouse_kit import DATASET, Lake, snowflake_options

from fraud_mlops.errors import SettingsError, WarehouseError, WarehouseUnavailable
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import warehouse_of
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse
from fraud_mlops.warehouse.sync import sync

Environment = Callable[..., None]
WHOLE = {
    "SNOWFLAKE_ACCOUNT": "myorg-account",
    "SNOWFLAKE_USER": "loader",
    "SNOWFLAKE_PASSWORD": "s3cret-w0rd",
    "SNOWFLAKE_WAREHOUSE": "fraud_wh",
    "SNOWFLAKE_DATABASE": "fraud",
    "SNOWFLAKE_SCHEMA": "metrics",
}


def options() -> SnowflakeOptions | None:
    return SnowflakeOptions.of(settings())


def test_a_missing_connector_is_told_with_the_extra_that_brings_it(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(**WHOLE)
    for name in ("snowflake.connector", "snowflake.connector.errors"):
        monkeypatch.setitem(sys.modules, name, None)  # as on a machine without the extra
    warehouse = warehouse_of(settings(), "lake")
    expected = pytest.raises(SettingsError, match=r"pip install 'fraud-mlops\[snowflake\]'")
    with expected, warehouse.session():
        pass


def complaint() -> str:
    with pytest.raises(SettingsError) as told:
        options()
    return str(told.value)


def test_without_snowflake_metrics_go_into_a_file_in_the_lakehouse(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options() is None
    assert warehouse_of(settings(), str(tmp_path)).address == f"duckdb {tmp_path}/warehouse.duckdb"
    monkeypatch.chdir(tmp_path)
    remote = warehouse_of(settings(), "s3://bucket/lake").address
    assert remote == f"duckdb {tmp_path}/warehouse.duckdb"
    environment(FRAUD_WAREHOUSE_PATH=tmp_path / "own.duckdb")
    assert warehouse_of(settings(), "s3://bucket/lake").address == f"duckdb {tmp_path}/own.duckdb"


def test_names_are_in_snowflakes_upper_case(environment: Environment) -> None:
    environment(**WHOLE, SNOWFLAKE_ROLE="fraud_loader")
    found = options()
    assert found is not None
    assert found.public() == {
        "account": "myorg-account",
        "user": "loader",
        "warehouse": "FRAUD_WH",
        "database": "FRAUD",
        "schema": "METRICS",
        "role": "FRAUD_LOADER",
    }
    assert found.address == "snowflake myorg-account FRAUD.METRICS.FRAUD_MODEL_METRICS"


def test_what_is_missing_is_told_all_at_once(environment: Environment) -> None:
    environment(SNOWFLAKE_USER="loader")
    told = complaint()
    for name in ("ACCOUNT", "WAREHOUSE", "DATABASE", "SCHEMA"):
        assert f"SNOWFLAKE_{name} is not set" in told
    assert "SNOWFLAKE_PRIVATE_KEY_PATH nor SNOWFLAKE_PASSWORD" in told
    assert "SNOWFLAKE_USER" not in told


@pytest.mark.parametrize("name", ["TABLE", "DATABASE", "SCHEMA", "WAREHOUSE", "ROLE"])
@pytest.mark.parametrize(
    "value", ['m"; DROP TABLE x; --', "m;", "m'", "a.b", "two words", "1st", "ü", "x" * 241]
)
def test_what_is_no_plain_name_is_refused_before_connecting(
    environment: Environment, name: str, value: str
) -> None:
    environment(**(WHOLE | {f"SNOWFLAKE_{name}": value}))
    assert f"SNOWFLAKE_{name}=" in complaint()
    assert "s3cret-w0rd" not in complaint()


@pytest.mark.parametrize("name", ["order", "BI_DRIFT", "Select"])
def test_a_word_of_sql_and_the_name_of_a_view_are_no_names(
    environment: Environment, name: str
) -> None:
    environment(**WHOLE, SNOWFLAKE_TABLE=name)
    assert f"SNOWFLAKE_TABLE={name!r} is a" in complaint()


def test_a_table_name_is_refused_for_the_file_too(environment: Environment, tmp_path: Path) -> None:
    environment(SNOWFLAKE_TABLE='m"; DROP TABLE x; --')
    with pytest.raises(SettingsError, match="SNOWFLAKE_TABLE="):
        warehouse_of(settings(), str(tmp_path))


@pytest.mark.parametrize(
    "address",
    ["https://x.snowflakecomputing.com", "x.snowflakecomputing.com", "x.Y.SnowflakeComputing.cn"],
)
def test_an_address_is_no_account_and_http_is_for_this_machine(
    environment: Environment, address: str
) -> None:
    environment(
        **(WHOLE | {"SNOWFLAKE_ACCOUNT": address}),
        SNOWFLAKE_PROTOCOL="http",
        SNOWFLAKE_HOST="snowflake.example.org",
        SNOWFLAKE_PRIVATE_KEY_PATH="/no/such/key.p8",
    )
    told = complaint()
    assert "before .snowflakecomputing.com" in told
    assert "in the clear" in told
    assert "/no/such/key.p8: there is no such file" in told


def test_secrets_are_not_shown(environment: Environment) -> None:
    environment(**WHOLE, **{"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "open-sesame"})
    found = options()
    shown = f"{found!r} {found} {settings()!r} {settings().model_dump_json()}"
    assert "s3cret-w0rd" not in shown
    assert "open-sesame" not in shown
    assert found is not None
    assert "s3cret-w0rd" not in str(found.public() | found.further())


LOGINS = {
    "wrong password": (
        refused(390100, "Incorrect username or password was specified: s3cret-w0rd"),
        "wrong SNOWFLAKE_USER or SNOWFLAKE_PASSWORD",
    ),
    "wrong key": (refused(390144, "JWT token is invalid."), "RSA_PUBLIC_KEY"),
    "no such role": (
        refused(390189, "Role 'X' specified in the connect string is not granted to this user."),
        "SNOWFLAKE_ROLE; as a role that may, run what",
    ),
    "no such warehouse": (refused(390201, "The requested warehouse does not exist"), "schema"),
    "network policy": (refused(390422, "Incoming request is not allowed"), "network policy"),
    "no such account": (404, "wrong SNOWFLAKE_ACCOUNT"),
}


@pytest.mark.parametrize("case", LOGINS)
def test_a_login_that_is_refused_is_told_at_once_with_what_to_do(
    lake: Lake, snow: Proxy, case: str
) -> None:
    snow.login, meaning = LOGINS[case]
    said: list[str] = []
    with pytest.raises(WarehouseError) as told:
        sync(
            lake.lakehouse,
            SnowflakeWarehouse(snowflake_options(snow.port)),
            DATASET,
            say=said.append,
        )
    assert meaning in str(told.value)
    assert "test-account" in str(told.value)
    assert "s3cret-w0rd" not in str(told.value)
    assert not isinstance(told.value, WarehouseUnavailable)
    assert said == []  # not tried again: nobody locks a user out


STATEMENTS = {
    606: "no warehouse that it may use: SNOWFLAKE_WAREHOUSE",
    2003: "the role may not see it",
    3001: "the role may not do this",
}


@pytest.mark.parametrize("code", STATEMENTS)
def test_what_a_role_may_not_do_is_told_with_the_command_that_mends_it(
    lake: Lake, snow: Proxy, options: SnowflakeOptions, code: int
) -> None:
    snow.refuse = {"CREATE OR REPLACE TEMPORARY TABLE": refused(code, "SQL access control error")}
    with pytest.raises(WarehouseError) as told:
        sync(lake.lakehouse, SnowflakeWarehouse(options), DATASET)
    assert STATEMENTS[code] in str(told.value)
    assert "--print-schema" in str(told.value)


def test_a_server_that_stays_away_is_tried_again_as_often_as_is_set_and_then_told(
    lake: Lake, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(FRAUD_STORE_RETRIES=1)
    monkeypatch.setattr("fraud_mlops.warehouse.options.LOGIN_SECONDS", 1)
    said: list[str] = []
    nobody = SnowflakeWarehouse(snowflake_options(9))  # the port of discard
    with pytest.raises(WarehouseUnavailable, match=r"Tried 2 times.*run the sync again") as told:
        sync(lake.lakehouse, nobody, DATASET, say=said.append)
    reason = r"Could not connect to Snowflake backend after \d+ attempt\(s\): Connection refused"
    assert re.search(
        rf"cannot be reached at 127.0.0.1:9 \({reason}\); is SNOWFLAKE", str(told.value)
    )
    assert "250001" not in str(told.value)
    assert len(said) == 1
    assert "Trying again" in said[0]

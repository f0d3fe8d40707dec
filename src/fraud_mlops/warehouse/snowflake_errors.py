"""What Snowflake's errors mean, and what to do; without any secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fraud_mlops.errors import SettingsError, WarehouseError, WarehouseUnavailable
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_key import wrong_key

if TYPE_CHECKING:
    from snowflake.connector.errors import Error

RUN_SCHEMA = (
    "as a role that may, run what `python scripts/sync_metrics_to_snowflake.py --print-schema` "
    "prints (snow sql -i), and grant the user its loader role"
)
_LONGEST = 400

# https://docs.snowflake.com/en/developer-guide/python-connector: codes of the server's answers.
_LOGIN = {
    390100: "wrong SNOWFLAKE_USER or SNOWFLAKE_PASSWORD",
    390101: "wrong SNOWFLAKE_USER or SNOWFLAKE_PASSWORD",
    390102: "the user is locked for minutes after wrong passwords; wait, and mend the password",
    390144: "Snowflake knows another public key of this user, or none: ALTER USER ... SET "
    "RSA_PUBLIC_KEY with the one of SNOWFLAKE_PRIVATE_KEY_PATH",
    390189: f"the user has no such role as SNOWFLAKE_ROLE; {RUN_SCHEMA}",
    390201: f"the warehouse or database is not there, or the role may not use it; {RUN_SCHEMA}",
    390422: "a network policy keeps this address out; ask who looks after it",
    390432: "a network policy keeps this address out; ask who looks after it",
    251008: "SNOWFLAKE_PRIVATE_KEY_PATH is no private key in PKCS 8 (PEM), or "
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE is not its passphrase",
    290403: "wrong SNOWFLAKE_ACCOUNT (or SNOWFLAKE_HOST), or a network policy keeps you out",
    290404: "wrong SNOWFLAKE_ACCOUNT (or SNOWFLAKE_HOST): there is no such account",
}
_OBJECTS = {
    606: f"the session has no warehouse that it may use: SNOWFLAKE_WAREHOUSE; {RUN_SCHEMA}",
    2003: f"it is not there, or the role may not see it; {RUN_SCHEMA}",
    2043: f"it is not there, or the role may not see it; {RUN_SCHEMA}",
    3001: f"the role may not do this; {RUN_SCHEMA}",
    90105: f"SNOWFLAKE_DATABASE is not there, or the role may not use it; {RUN_SCHEMA}",
    90106: f"SNOWFLAKE_SCHEMA is not there, or the role may not use it; {RUN_SCHEMA}",
}
# Locked by another transaction, cancelled by a time-out, rolled back; sessions that have ended.
_PASSING_STATES = {"57014", "40001", "40P01"}
_PASSING = {625, 630, 390104, 390111, 390112, 390114, 390318}
_BUSY = {408, 429}
_HTTP = 290000
_OUT_OF_REACH = {250001, 250003, 250005, 251011}


@contextmanager
def told(options: SnowflakeOptions) -> Iterator[None]:
    """Errors of the connector within come out as ours. SettingsError when it is not installed."""
    try:
        from snowflake.connector.errors import Error
    except ImportError:
        raise SettingsError(
            "SNOWFLAKE_ACCOUNT is set, and Snowflake's connector is not installed; "
            "pip install 'fraud-mlops[snowflake]'"
        ) from None

    try:
        yield
    except Error as error:
        raise _as_ours(error, options) from None


@contextmanager
def told_of_login(options: SnowflakeOptions) -> Iterator[None]:
    """Likewise, and what others say below the connector: cryptography of a key, the system of its
    file, a client of HTTP of an address.

    The key was looked at when the options were made. Whether it is to blame is found by looking at
    it once more, and not by what kind of error came.
    """
    key = options.private_key_path
    try:
        with told(options):
            yield
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, OSError) and key is not None and error.filename == str(key):
            raise WarehouseError(
                f"{options.address}: {key} cannot be read ({error.strerror}); it is set by "
                "SNOWFLAKE_PRIVATE_KEY_PATH"
            ) from None
        if key is not None and (wrong := wrong_key(key, options.private_key_passphrase)):
            listed = "".join(f"\n  {line}" for line in wrong)
            raise WarehouseError(
                f"{options.address}: SNOWFLAKE_PRIVATE_KEY_PATH is no private key that can be "
                f"used:{listed}"
            ) from None
        if isinstance(error, TypeError):
            raise
        raise _unreached(error, options) from None


def _unreached(error: Exception, options: SnowflakeOptions) -> WarehouseUnavailable:
    """By the address, or on the way there."""
    where = "SNOWFLAKE_HOST (with SNOWFLAKE_PORT)" if options.host else "SNOWFLAKE_ACCOUNT"
    url = f"{options.protocol or 'https'}://{options.server}"
    return WarehouseUnavailable(
        f"{options.address}: Snowflake cannot be reached at {options.server} "
        f"({_first_line(error, options)}); is {where} right, and the network up: firewall, "
        "HTTPS_PROXY, private link?"
    ).mended_by(f"curl --max-time 10 {url}    # who answers?")


def _as_ours(error: Error, options: SnowflakeOptions) -> WarehouseError:
    code = error.errno
    said = f"{options.address}: {_said(error, options)}"
    if meaning := _LOGIN.get(code) or _OBJECTS.get(code):
        return WarehouseError(f"{said}\n{meaning}")
    if _passes(error) and code in _OUT_OF_REACH:
        return _unreached(error, options)
    if _passes(error):
        return WarehouseUnavailable(f"{said}\nIs SNOWFLAKE_ACCOUNT right, and the network up?")
    return WarehouseError(said)


def _passes(error: Error) -> bool:
    """Whether trying again may help: what the network did, and what other sessions did."""
    from snowflake.connector import errors

    if error.errno in _PASSING or error.sqlstate in _PASSING_STATES:
        return True
    if isinstance(error, errors.HttpError):
        status = error.errno - _HTTP
        return status >= 500 or status in _BUSY
    if isinstance(error, (errors.OperationalError, errors.InterfaceError, errors.InternalError)):
        return True
    return not isinstance(error, errors.DatabaseError)


def _first_line(error: Exception, options: SnowflakeOptions) -> str:
    """The connector's own words, and those of the operating system below: no such host, connection
    refused, certificate. What stands between them is addresses and advice."""
    said = str(getattr(error, "raw_msg", None) or error)
    first = said.strip().partition("\n")[0].removesuffix("Aborting")
    below: BaseException = error
    while deeper := below.__cause__ or below.__context__:
        below = deeper
    if isinstance(below, OSError) and below.strerror:
        first = f"{first.rstrip(' .')}: {below.strerror}"
    return _without_secrets(first, options)[:_LONGEST].rstrip(" .")


def _said(error: Exception, options: SnowflakeOptions) -> str:
    text = " ".join(str(getattr(error, "raw_msg", None) or error).split())
    text = _without_secrets(text, options)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def _without_secrets(text: str, options: SnowflakeOptions) -> str:
    for secret in filter(None, (options.password, options.private_key_passphrase)):
        text = text.replace(secret.get_secret_value(), "***")
    return text

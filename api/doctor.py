"""What `fraud-mlops doctor` says of the API's settings, FRAUD_API_*, without starting it.

    python -m api.doctor

prints what was found as JSON lines, as `fraud_mlops.doctor.services` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from api.settings import ApiSettings, api_settings
from fraud_mlops.doctor.finding import Finding, ok, warning, wrong
from fraud_mlops.doctor.places import folder
from fraud_mlops.doctor.services import tell
from fraud_mlops.errors import SettingsError

MAKE_KEY = "python -m api.keys add --file {path} --id me"


def look() -> Iterator[Finding]:
    """Settings, keys, issuer, log folder: those that are set."""
    if missing := [name for name in ("fastapi", "jwt", "uvicorn") if find_spec(name) is None]:
        says = f"FRAUD_API_... is set, and not installed is {', '.join(missing)}"
        yield wrong("API", says, "pip install 'fraud-mlops[api]'")
        return
    try:
        given = api_settings()
    except SettingsError as error:
        yield wrong("API", str(error), "docs/api.md")
        return
    if given.keys_file is not None:
        yield keys(given.keys_file)
    if given.oidc_issuer is not None:
        yield issuer(given)
    if given.log_predictions:
        yield folder("API's log folder", given.log_folder.absolute(), "FRAUD_API_LOG_FOLDER")
    if given.open:
        says = f"{given.dataset}: anybody who reaches it may score (FRAUD_API_OPEN)"
        yield warning("API", says, "unset FRAUD_API_OPEN")
    elif given.keys_file is None and given.oidc_issuer is None:
        says = f"{given.dataset}: no way to sign in is set up, so that nobody may score"
        yield wrong("API", says, f"{MAKE_KEY.format(path='keys.json')}    # FRAUD_API_KEYS_FILE")
    else:
        yield ok("API", f"scores with the champion of {given.dataset}")


def keys(path: Path) -> Finding:
    from api.keys import read_keys

    name, make = "API's keys", MAKE_KEY.format(path=path)
    try:
        known = read_keys(path).keys
    except SettingsError as error:
        return wrong(name, str(error), f"mv {path} {path}.old; {make}" if path.exists() else make)
    now = datetime.now(UTC)
    good = [key for key in known if key.not_after is None or key.not_after > now]
    says = f"{path}: {len(good)} good, {len(known) - len(good)} expired"
    return ok(name, says) if good else warning(name, f"{says}; nobody may score by a key", make)


def issuer(given: ApiSettings) -> Finding:
    """Its public keys, fetched as the server fetches them."""
    import jwt

    from api.access import Tokens

    name, mend = "API's issuer", "curl --max-time 10 {url}    # else set FRAUD_API_OIDC_JWKS_URL"
    try:
        keys = Tokens(given).keys
    except SettingsError as error:
        return wrong(name, str(error), "export FRAUD_API_OIDC_JWKS_URL=https://...")
    try:
        ids = keys.fetched()
    except jwt.PyJWTError as error:
        return wrong(name, f"{keys.url}: {error}", mend.format(url=keys.url))
    return ok(name, f"{keys.url}: signs with {', '.join(ids)}")


if __name__ == "__main__":
    tell(look())
    sys.exit(0)

"""Environment variables of the API. docs/api.md shows the same table; a test holds them together.

Where lakehouse and registry are is said by the project's own settings (docs/settings.md).
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraud_mlops.errors import SettingsError

_ORIGIN = re.compile(
    r"(?!http:.*:80$|https:.*:443$)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]*)?"
)


def origins_of(told: str) -> list[str]:
    return [origin.strip() for origin in told.split(",") if origin.strip()]


class ApiSettings(BaseSettings):
    """Defaults start a server that scores for nobody until keys are given."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    dataset: str = Field(
        "synthetic_claims",
        alias="FRAUD_API_DATASET",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="Dataset whose champion is served.",
    )
    open: bool = Field(
        False,
        alias="FRAUD_API_OPEN",
        description="Whether anybody may score, without a key. For a laptop, not for a network.",
    )
    keys_file: Path | None = Field(
        None,
        alias="FRAUD_API_KEYS_FILE",
        description="API keys, hashed; `python -m api.keys` writes it. Read again when it changes.",
    )
    oidc_issuer: str | None = Field(
        None, alias="FRAUD_API_OIDC_ISSUER", description="Issuer of tokens (`iss`), an https URL."
    )
    oidc_audience: str | None = Field(
        None, alias="FRAUD_API_OIDC_AUDIENCE", description="Audience that tokens must name (`aud`)."
    )
    oidc_jwks_url: str | None = Field(
        None,
        alias="FRAUD_API_OIDC_JWKS_URL",
        description="Its public keys; `<issuer>/.well-known/jwks.json` when unset.",
    )
    rate_limit: float = Field(
        1000.0,
        alias="FRAUD_API_RATE_LIMIT",
        ge=0,
        description="Requests a second of one key and worker; 0 for no limit.",
    )
    max_body_bytes: int = Field(
        1 << 20,
        alias="FRAUD_API_MAX_BODY_BYTES",
        ge=1024,
        description="Largest single claim, and largest line of a batch.",
    )
    max_batch_bytes: int = Field(
        256 << 20, alias="FRAUD_API_MAX_BATCH_BYTES", ge=1024, description="Largest batch."
    )
    max_batch_rows: int = Field(
        1_000_000, alias="FRAUD_API_MAX_BATCH_ROWS", ge=1, description="Most claims of a batch."
    )
    body_seconds: float = Field(
        30.0,
        alias="FRAUD_API_BODY_SECONDS",
        gt=0,
        description="Time a client has for sending a claim, or each part of a batch, and for "
        "taking each part of an answer.",
    )
    batch_seconds: float = Field(
        900.0,
        alias="FRAUD_API_BATCH_SECONDS",
        gt=0,
        description="Time a whole batch has to come in, and as long again its answer to be taken.",
    )
    poll_seconds: float = Field(
        2.0,
        alias="FRAUD_API_POLL_SECONDS",
        gt=0,
        description="How often the champion, its manifest and the entity state are looked at.",
    )
    log_predictions: bool = Field(
        True,
        alias="FRAUD_API_LOG_PREDICTIONS",
        description="Whether scores are written to the lakehouse's prediction log.",
    )
    log_folder: Path = Field(
        Path(".fraud_api"),
        alias="FRAUD_API_LOG_FOLDER",
        description="Folder on this machine for predictions that are not in the lakehouse yet.",
    )
    flush_seconds: float = Field(
        60.0,
        alias="FRAUD_API_FLUSH_SECONDS",
        gt=0,
        description="After how long predictions go to the lakehouse.",
    )
    flush_rows: int = Field(
        100_000, alias="FRAUD_API_FLUSH_ROWS", ge=1, description="After how many they do."
    )
    shadow_share: float = Field(
        0.1,
        alias="FRAUD_API_SHADOW_SHARE",
        ge=0,
        le=1,
        description="Share of claims that a challenger scores too, beside the request.",
    )
    cors_origins: str = Field(
        "",
        alias="FRAUD_API_CORS_ORIGINS",
        description="Origins whose pages may call the API, with commas between; none by default.",
    )
    explore: bool = Field(
        True, alias="FRAUD_API_EXPLORE", description="Whether `/` shows the page for analysts."
    )

    @field_validator("cors_origins")
    @classmethod
    def _as_browsers_send_them(cls, told: str) -> str:
        """Origins are compared letter by letter: another spelling would let nobody in."""
        for origin in origins_of(told):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin} is no origin: write scheme and host, and the port if it is not the "
                    "scheme's own, in small letters and without a path or a slash at the end: "
                    "https://desk.example"
                )
        return told


def api_settings() -> ApiSettings:
    """SettingsError names every wrong variable at once."""
    try:
        found = ApiSettings()
    except ValidationError as error:
        wrong = "\n".join(
            f"  {e['loc'][0]}={e['input']!r}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise SettingsError(f"environment variables of the API are wrong:\n{wrong}") from None
    if bool(found.oidc_issuer) != bool(found.oidc_audience):
        raise SettingsError(
            "FRAUD_API_OIDC_ISSUER and FRAUD_API_OIDC_AUDIENCE go together: a token of the issuer "
            "for somebody else must not pass. Give both, or neither"
        )
    return found

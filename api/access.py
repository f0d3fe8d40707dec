"""Who asks, what they may, and how often."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from api.issuer_keys import IssuerKeys
from api.keys import SCOPES, KeyRing, Scope
from api.problems import Problem
from api.settings import ApiSettings
from fraud_mlops.errors import SettingsError

if TYPE_CHECKING:
    import jwt

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_LEEWAY = 30
_MOST_CALLERS = 10_000
_LONGEST_NAME = 64

_HOW = (
    "No way to sign in is set up, so that nobody can. Make a key: python -m api.keys add --file "
    "keys.json --id me; and start with FRAUD_API_KEYS_FILE=keys.json. Or set FRAUD_API_OIDC_ISSUER "
    "and FRAUD_API_OIDC_AUDIENCE, or, on a machine of your own, FRAUD_API_OPEN=true."
)
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fraud-mlops"'}


@dataclass(frozen=True)
class Caller:
    """id: as the prediction log names them. rate_limit: requests a second, 0 for no limit."""

    id: str
    scopes: tuple[Scope, ...]
    rate_limit: float


Endpoint = Callable[[Request], Awaitable[Response]]


def requires(*scopes: Scope) -> Callable[[Endpoint], Endpoint]:
    """An endpoint for callers with one of the scopes; the access log names them by their id."""

    def guarded(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def allowed(request: Request) -> Response:
            access: Access = request.app.state.service.access
            request.scope["caller"] = (await access.require(request, *scopes)).id
            return await endpoint(request)

        return allowed

    return guarded


class Access:
    """A server's checks, by its settings. Raises SettingsError for keys that cannot be read."""

    def __init__(self, settings: ApiSettings) -> None:
        self._open, self._rate = settings.open, settings.rate_limit
        self._ring = KeyRing(settings.keys_file) if settings.keys_file else None
        self._tokens = Tokens(settings) if settings.oidc_issuer else None
        self._buckets: dict[str, _Bucket] = {}

    async def require(self, request: Request, *scopes: Scope) -> Caller:
        """The caller, if it has one of the scopes and its rate allows one more. Raises Problem."""
        caller = await self._caller(request)
        if not set(scopes) & set(caller.scopes):
            told = " or ".join(map(repr, scopes))
            raise Problem(403, "missing-scope", f"This needs the scope {told}.")
        self._count(caller)
        return caller

    async def _caller(self, request: Request) -> Caller:
        secret = _presented(request)
        if secret is None:
            if self._open:
                return Caller("open", SCOPES, self._rate)
            if self._ring is None and self._tokens is None:
                raise Problem(401, "not-set-up", _HOW, headers=_CHALLENGE)
            detail = "Give a key or a token: Authorization: Bearer ..."
            raise Problem(401, "not-signed-in", detail, headers=_CHALLENGE)
        if self._tokens is not None and secret.count(".") == 2:
            return await self._tokens.caller(secret, self._rate)
        key = self._ring.find(secret) if self._ring else None
        if key is None:
            detail = "This key is not known, or has expired."
            raise Problem(401, "unknown-key", detail, headers=_CHALLENGE)
        rate = self._rate if key.rate_limit is None else key.rate_limit
        return Caller(key.id, key.scopes, rate)

    def _count(self, caller: Caller) -> None:
        if not caller.rate_limit:
            return
        bucket = self._buckets.get(caller.id)
        if bucket is None:
            if len(self._buckets) >= _MOST_CALLERS:
                self._buckets.clear()
            bucket = self._buckets[caller.id] = _Bucket(caller.rate_limit)
        wait = bucket.take(caller.rate_limit)
        if wait > 0:
            raise Problem(
                429,
                "too-many-requests",
                f"More than {caller.rate_limit:g} requests a second.",
                headers={"Retry-After": str(max(1, round(wait)))},
            )


def _presented(request: Request) -> str | None:
    given = request.headers.get("authorization")
    if given:
        kind, _, secret = given.partition(" ")
        return secret.strip() if kind.lower() == "bearer" and secret.strip() else ""
    return request.headers.get("x-api-key")


class _Bucket:
    """A token bucket that holds two seconds' worth."""

    def __init__(self, rate: float) -> None:
        self._left, self._at = max(1.0, 2 * rate), time.monotonic()

    def take(self, rate: float) -> float:
        """0 when there was one, else seconds until there will be."""
        now = time.monotonic()
        self._left = min(max(1.0, 2 * rate), self._left + (now - self._at) * rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / rate
        self._left -= 1
        return 0.0


class Tokens:
    """JWTs of one issuer for one audience, signed with a key of its published set."""

    def __init__(self, settings: ApiSettings) -> None:
        self._issuer, self._audience = settings.oidc_issuer or "", settings.oidc_audience
        url = settings.oidc_jwks_url or f"{self._issuer.rstrip('/')}/.well-known/jwks.json"
        if not _is_safe(url):
            raise SettingsError(
                f"FRAUD_API_OIDC_JWKS_URL={url}: keys that came over plain HTTP prove nothing; "
                "give an https address"
            )
        self.keys = IssuerKeys(url)

    async def caller(self, token: str, rate: float) -> Caller:
        """Raises Problem: 401 for a token that is not good, 503 when keys cannot be fetched."""
        import jwt

        try:
            name = jwt.get_unverified_header(token).get("kid")
            key = await self.keys.key(str(name))
            if key is None:
                raise jwt.InvalidKeyError("no key of the issuer")
            claims = self._verified(token, key)
        except ConnectionError:
            detail = "The issuer's keys cannot be fetched; try again later."
            again = {"Retry-After": "10"}
            raise Problem(503, "issuer-unreachable", detail, headers=again) from None
        except jwt.PyJWTError as error:
            raise Problem(
                401,
                "bad-token",
                f"This token is not good: {type(error).__name__}.",
                headers=_CHALLENGE,
            ) from None
        return Caller(f"jwt:{_name(claims['sub'])}", _scopes(claims), rate)

    def _verified(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        import jwt

        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        if not claims["sub"].strip():
            raise jwt.InvalidTokenError("of nobody")
        return claims


def _is_safe(url: str) -> bool:
    """Nobody between can change what comes from there."""
    parts = urlsplit(url)
    here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return parts.scheme == "https" or (parts.scheme == "http" and here)


def _name(subject: str) -> str:
    """As logs and rates have it: of a long one the start, with a hash that no other one has."""
    if len(subject) <= _LONGEST_NAME:
        return subject
    told = hashlib.sha256(subject.encode(errors="backslashreplace")).hexdigest()
    return f"{subject[:_LONGEST_NAME]}~{told[:16]}"


def _scopes(claims: dict[str, Any]) -> tuple[Scope, ...]:
    """`scope` of RFC 8693, or `scp` or `roles` as Microsoft's issuer has them."""
    told: set[str] = set()
    for name in ("scope", "scp", "roles"):
        value = claims.get(name)
        told |= set(value.split()) if isinstance(value, str) else set()
        told |= {str(v) for v in value} if isinstance(value, list) else set()
    return tuple(scope for scope in SCOPES if scope in told)

"""Tokens of an OIDC issuer: which are good, and what is while the issuer is away."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from access_kit import AUDIENCE, Issuer
from api_kit import Published, Server

from api.access import Tokens
from api.problems import Problem
from api.settings import ApiSettings
from fraud_mlops.errors import SettingsError


def test_a_token_of_the_issuer_opens_what_its_scope_says(
    published: Published, closed: Server, issuer: Issuer
) -> None:
    claim = published.claim()
    assert closed.score(claim, key=issuer.token()).status_code == 200
    assert closed.get("/metrics", key=issuer.token()).status_code == 403
    assert closed.get("/metrics", key=issuer.token(scope=None, roles=["admin"])).status_code == 200
    assert closed.score(claim, key=issuer.token(scope="read write")).status_code == 403


def test_tokens_that_are_not_good_open_nothing(
    published: Published, closed: Server, issuer: Issuer
) -> None:
    past = datetime.now(UTC) - timedelta(minutes=5)
    bad = {
        "expired": issuer.token(exp=past),
        "no end": issuer.token(exp=None),
        "for others": issuer.token(aud="payroll"),
        "of others": issuer.token(iss="https://elsewhere.example"),
        "forged": issuer.token(key=issuer.stranger),
        "no subject": issuer.token(sub=None),
        "subject of nobody": issuer.token(sub=" "),
        "symmetric": issuer.token(key="x" * 64, algorithm="HS256"),
        "unsigned": issuer.token(key="", algorithm="none"),
    }
    for why, token in bad.items():
        told = closed.score(published.claim(), key=token)
        assert told.status_code == 401, why
        assert token not in told.text + closed.log.read_text()


def test_callers_have_names_of_their_own(issuer: Issuer) -> None:
    """Each a rate of its own, and its own name in the prediction log; none a long one."""
    given = {"FRAUD_API_OIDC_ISSUER": issuer.url, "FRAUD_API_OIDC_AUDIENCE": AUDIENCE}
    tokens = Tokens(ApiSettings(**given, FRAUD_API_OIDC_JWKS_URL=f"{issuer.url}/keys"))

    def named(subject: str) -> str:
        return asyncio.run(tokens.caller(issuer.token(sub=subject), rate=0)).id

    assert named("ada") == "jwt:ada"
    assert named("spiffe://" + "x" * 55) == "jwt:spiffe://" + "x" * 55
    one, other = (named("spiffe://" + "x" * 55 + rest) for rest in ("/ada", "/bob"))
    assert one != other
    assert one == named("spiffe://" + "x" * 55 + "/ada")
    assert one.startswith("jwt:spiffe://xxx")
    assert max(map(len, (one, named("y" * 5_000)))) < 100
    with pytest.raises(Problem) as told:
        named("")
    assert told.value.status == 401


def test_an_issuer_whose_keys_cannot_be_had_is_no_fault_of_the_token(issuer: Issuer) -> None:
    """A page for people with status 200, as a proxy in the way answers; and nobody at all."""
    token, whole = issuer.token(), issuer.body
    given = {"FRAUD_API_OIDC_ISSUER": issuer.url, "FRAUD_API_OIDC_AUDIENCE": AUDIENCE}
    places = (f"{issuer.url}/keys", "http://127.0.0.1:9/keys")
    issuer.body = b"<html>Sign in</html>"
    try:
        for place in places:
            tokens = Tokens(ApiSettings(**given, FRAUD_API_OIDC_JWKS_URL=place))
            with pytest.raises(Problem) as told:
                asyncio.run(tokens.caller(token, rate=0))
            assert told.value.status == 503
    finally:
        issuer.body = whole


def nonsense(kid: str) -> str:
    """A token that nobody has signed."""
    return jwt.encode({"sub": "x"}, "k" * 32, headers={"kid": kid})


async def answered(tokens: Tokens, token: str) -> tuple[int, float]:
    began = time.monotonic()
    try:
        await tokens.caller(token, rate=0)
    except Problem as problem:
        return problem.status, time.monotonic() - began
    return 200, time.monotonic() - began


def test_a_silent_issuer_holds_up_nobody_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        tokens = Tokens(
            ApiSettings(
                FRAUD_API_OIDC_ISSUER="https://x.example",
                FRAUD_API_OIDC_AUDIENCE=AUDIENCE,
                FRAUD_API_OIDC_JWKS_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/keys",
            )
        )

        async def ask() -> float:
            asked = asyncio.gather(*(answered(tokens, nonsense(f"{i}")) for i in range(40)))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await asyncio.to_thread(time.monotonic)  # as batches take one
            others = time.monotonic() - began
            for status, seconds in await asked:
                assert status == 503
                assert seconds < 9
            status, seconds = await answered(tokens, nonsense("later"))
            assert status == 503
            assert seconds < 1
            return others

        assert asyncio.run(ask()) < 1


def test_ids_that_nobody_knows_are_not_asked_for_again_and_again(issuer: Issuer) -> None:
    given = {"FRAUD_API_OIDC_ISSUER": issuer.url, "FRAUD_API_OIDC_AUDIENCE": AUDIENCE}
    tokens, before = Tokens(ApiSettings(**given)), issuer.asked
    for i in range(20):
        assert asyncio.run(answered(tokens, nonsense(f"{i}")))[0] == 401
    assert asyncio.run(answered(tokens, issuer.token()))[0] == 200
    assert issuer.asked == before + 1


def test_keys_that_were_good_are_while_the_issuer_is_away(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"FRAUD_API_OIDC_ISSUER": issuer.url, "FRAUD_API_OIDC_AUDIENCE": AUDIENCE}
    tokens, whole, token = Tokens(ApiSettings(**given)), issuer.body, issuer.token()
    assert asyncio.run(answered(tokens, token))[0] == 200
    monkeypatch.setattr("api.issuer_keys.FRESH", 0.0)  # as five minutes later
    monkeypatch.setattr("api.issuer_keys.AGAIN", 0.0)
    issuer.body = b"<html>Sign in</html>"
    try:
        for _ in range(3):
            assert asyncio.run(answered(tokens, token))[0] == 200
            time.sleep(0.1)
        assert "cannot be fetched" in caplog.text
        assert asyncio.run(answered(tokens, nonsense("two")))[0] == 503
        monkeypatch.setattr("api.issuer_keys.KEPT", 0.0)  # as after a day
        assert asyncio.run(answered(tokens, token))[0] == 503
        issuer.body = b'{"keys": []}'
        assert asyncio.run(answered(tokens, token))[0] == 503
    finally:
        issuer.body = whole
    assert asyncio.run(answered(tokens, token))[0] == 200


@pytest.mark.parametrize(
    "issuer",
    [
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
    ],
)
def test_a_name_that_begins_like_this_machine_is_another(issuer: str) -> None:
    given = {"FRAUD_API_OIDC_ISSUER": issuer, "FRAUD_API_OIDC_AUDIENCE": AUDIENCE}
    with pytest.raises(SettingsError, match="plain HTTP"):
        Tokens(ApiSettings(**given))

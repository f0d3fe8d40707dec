"""Who may score: keys, tokens, scopes and limits; and what strangers get to see."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from api_kit import Published, Server, keys, open_server
from cryptography.hazmat.primitives.asymmetric import rsa

from api.access import Access, Tokens
from api.keys import KeyRing, add, read_keys
from api.problems import Problem
from api.settings import ApiSettings
from fraud_mlops.errors import SettingsError

AUDIENCE = "fraud-scoring"


class Issuer:
    """An OIDC issuer's published keys over HTTP, and tokens signed with one of them."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        self.body = json.dumps({"keys": [public | {"kid": "one", "use": "sig"}]}).encode()
        self.asked = 0
        issuer = self

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(issuer.body)))
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def token(self, *, key: Any = None, algorithm: str = "RS256", **changed: Any) -> str:
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "exp": datetime.now(UTC) + timedelta(minutes=5),
            "scope": "score",
        }
        given = {k: v for k, v in (claims | changed).items() if v is not None}
        signing = self.key if key is None else key
        return jwt.encode(given, signing, algorithm, headers={"kid": "one"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def score_key(key_file: Path) -> str:
    return keys(key_file, "add", "--id", "desk", "--scopes", "score")


@pytest.fixture(scope="module")
def admin_key(key_file: Path) -> str:
    return keys(key_file, "add", "--id", "ops", "--scopes", "admin")


@pytest.fixture(scope="module")
def server(
    published: Published,
    issuer: Issuer,
    key_file: Path,
    score_key: str,
    admin_key: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    environment = {
        "FRAUD_API_OPEN": "0",
        "FRAUD_API_KEYS_FILE": str(key_file),
        "FRAUD_API_OIDC_ISSUER": issuer.url,
        "FRAUD_API_OIDC_AUDIENCE": AUDIENCE,
        "FRAUD_API_BODY_SECONDS": "1",
    }
    with open_server(published, tmp_path_factory.mktemp("closed"), **environment) as running:
        yield running


def test_without_keys_the_server_starts_and_says_how_to_get_one(
    published: Published, tmp_path: Path
) -> None:
    with open_server(published, tmp_path, FRAUD_API_OPEN="0") as closed:
        assert closed.get("/readyz").status_code == 200
        told = closed.score(published.claim())
        assert (told.status_code, told.headers["www-authenticate"][:6]) == (401, "Bearer")
        assert "python -m api.keys add" in told.json()["detail"]
        assert "FRAUD_API_OPEN" in told.json()["detail"]


def test_a_key_opens_what_its_scope_says(
    published: Published, server: Server, score_key: str, admin_key: str
) -> None:
    claim = published.claim()
    assert server.score(claim, key=score_key).status_code == 200
    assert server.post("/v1/score", json=claim, headers={"X-API-Key": score_key}).status_code == 200
    assert server.get("/metrics", key=score_key).status_code == 403
    assert server.get("/metrics", key=admin_key).status_code == 200
    assert server.score(claim, key=admin_key).status_code == 403
    for path in ("/v1/model", "/v1/model/schema", "/metrics"):
        assert server.get(path).status_code == 401
    for path in ("/healthz", "/readyz"):
        assert server.get(path).status_code == 200


def test_prometheus_has_a_key_that_reads_metrics_and_nothing_else(
    published: Published, server: Server, key_file: Path
) -> None:
    key = keys(key_file, "add", "--id", "prometheus", "--scopes", "metrics")
    server.until(lambda: server.get("/metrics", key=key).status_code == 200, 5)
    assert server.score(published.claim(), key=key).status_code == 403
    assert server.get("/v1/model", key=key).status_code == 403


@pytest.mark.parametrize("wrong", ["", "nobody's", "fk_" + "x" * 43, "ä", "a.b.c"])
def test_other_words_open_nothing(published: Published, server: Server, wrong: str) -> None:
    for headers in ({"Authorization": f"Bearer {wrong}".encode()}, {"X-API-Key": wrong.encode()}):
        told = server.post("/v1/score", json=published.claim(), headers=headers)
        assert told.status_code == 401
        assert not wrong or wrong not in told.text


def test_keys_are_kept_as_hashes_only(key_file: Path, score_key: str, server: Server) -> None:
    assert score_key not in key_file.read_text()
    assert key_file.stat().st_mode & 0o077 == 0
    assert score_key not in server.log.read_text()


def test_a_key_is_replaced_while_the_server_runs(
    published: Published, server: Server, key_file: Path, score_key: str
) -> None:
    claim = published.claim()
    new = keys(key_file, "add", "--id", "branch", "--scopes", "score")
    server.until(lambda: server.score(claim, key=new).status_code == 200, 5)
    assert server.score(claim, key=score_key).status_code == 200
    keys(key_file, "remove", "--id", "branch")
    server.until(lambda: server.score(claim, key=new).status_code == 401, 5)
    kept = key_file.read_bytes()
    key_file.write_text("{ half an edit")
    time.sleep(1.2)
    assert server.score(claim, key=score_key).status_code == 200
    key_file.write_bytes(kept)


@contextmanager
def no_file_opens() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_key_file_that_could_not_be_read_once_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys(path, "add", "--id", "kept")
    revoked = keys(path, "add", "--id", "revoked")
    ring = KeyRing(path)
    assert ring.find(revoked)
    keys(path, "remove", "--id", "revoked")
    time.sleep(1.1)
    with no_file_opens():
        assert ring.find(revoked)
    time.sleep(1.1)
    assert ring.find(revoked) is None


def test_without_their_file_no_keys_are_good(tmp_path: Path) -> None:
    """Not for one more request, however long after nobody has asked."""
    path = tmp_path / "keys.json"
    key = keys(path, "add", "--id", "desk")
    ring = KeyRing(path)
    assert ring.find(key)
    path.rename(tmp_path / "away")
    ring._looked = 0.0
    assert ring.find(key) is None
    (tmp_path / "away").rename(path)
    ring._looked = 0.0
    assert ring.find(key)


def test_a_key_file_that_is_away_while_another_takes_its_place_revokes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, away = tmp_path / "keys.json", tmp_path / "away"
    key = keys(path, "add", "--id", "desk")
    ring = KeyRing(path)
    path.rename(away)
    monkeypatch.setattr(time, "sleep", lambda _: away.rename(path))
    assert ring.find(key)


def test_keys_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"

    def make(name: str) -> None:
        add.main(["--file", str(path), "--id", name], standalone_mode=False)

    threads = [threading.Thread(target=make, args=(f"k{i}",)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.id for key in read_keys(path).keys} == {f"k{i}" for i in range(16)}


def test_a_token_of_the_issuer_opens_what_its_scope_says(
    published: Published, server: Server, issuer: Issuer
) -> None:
    claim = published.claim()
    assert server.score(claim, key=issuer.token()).status_code == 200
    assert server.get("/metrics", key=issuer.token()).status_code == 403
    assert server.get("/metrics", key=issuer.token(scope=None, roles=["admin"])).status_code == 200
    assert server.score(claim, key=issuer.token(scope="read write")).status_code == 403


def test_tokens_that_are_not_good_open_nothing(
    published: Published, server: Server, issuer: Issuer
) -> None:
    past = datetime.now(UTC) - timedelta(minutes=5)
    bad = {
        "expired": issuer.token(exp=past),
        "no end": issuer.token(exp=None),
        "for others": issuer.token(aud="payroll"),
        "of others": issuer.token(iss="https://elsewhere.example"),
        "forged": issuer.token(key=issuer.stranger),
        "no subject": issuer.token(sub=None),
        "symmetric": issuer.token(key="x" * 64, algorithm="HS256"),
        "unsigned": issuer.token(key="", algorithm="none"),
    }
    for why, token in bad.items():
        told = server.score(published.claim(), key=token)
        assert told.status_code == 401, why
        assert token not in told.text + server.log.read_text()


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


def test_more_requests_than_a_key_may_make_are_put_off(
    published: Published, tmp_path: Path
) -> None:
    with open_server(published, tmp_path, FRAUD_API_RATE_LIMIT="2") as limited:
        told = [limited.score(published.claim()) for _ in range(12)]
        codes = [answer.status_code for answer in told]
        assert codes[:4] == [200] * 4
        refused = told[codes.index(429)]
        assert int(refused.headers["retry-after"]) >= 1
        assert limited.get("/healthz").status_code == 200


def test_a_client_that_sends_nothing_is_not_waited_for(server: Server, score_key: str) -> None:
    port = int(server.url.rpartition(":")[2])
    head = (
        f"POST /v1/score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {score_key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(head.encode())
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]


def test_no_claim_and_no_key_is_ever_logged(
    published: Published, server: Server, score_key: str
) -> None:
    claim = published.claim()
    server.score(claim, key=score_key)
    server.score(claim | {"amount": "secret-amount"}, key=score_key)
    deadline = time.monotonic() + 10  # the line is written when the answer has gone
    while (log := server.log.read_text()).count('"route":"/v1/score"') < 2:
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    for value in (claim["claim_id"], claim["policyholder"], "secret-amount", score_key):
        assert value not in log


def test_other_sites_may_call_only_when_they_are_named(
    published: Published, tmp_path: Path
) -> None:
    origin = "https://desk.example"
    with open_server(published, tmp_path, FRAUD_API_CORS_ORIGINS=origin) as named:
        told = named.score(published.claim(), headers={"Origin": origin})
        assert told.headers["access-control-allow-origin"] == origin
        other = named.score(published.claim(), headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_settings_that_would_let_others_in_are_refused(tmp_path: Path) -> None:
    plain = {"FRAUD_API_OIDC_ISSUER": "http://issuer.example", "FRAUD_API_OIDC_AUDIENCE": "x"}
    with pytest.raises(SettingsError, match="plain HTTP"):
        Access(ApiSettings(**plain))
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"id": "x", "sha256": "my-plain-key"}]}')
    with pytest.raises(SettingsError, match="sha256") as told:
        Access(ApiSettings(FRAUD_API_KEYS_FILE=str(file)))
    assert "my-plain-key" not in str(told.value)

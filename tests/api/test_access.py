"""Who may score: scopes and limits; and what strangers get to see."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from api_kit import Published, Server, keys, open_server

from api.access import Access
from api.settings import ApiSettings, api_settings
from fraud_mlops.errors import SettingsError


def test_without_keys_the_server_starts_and_says_how_to_get_one(
    published: Published, tmp_path: Path
) -> None:
    with open_server(published, tmp_path, FRAUD_API_OPEN="0") as keyless:
        assert keyless.get("/readyz").status_code == 200
        told = keyless.score(published.claim())
        assert (told.status_code, told.headers["www-authenticate"][:6]) == (401, "Bearer")
        assert "python -m api.keys add" in told.json()["detail"]
        assert "FRAUD_API_OPEN" in told.json()["detail"]


def test_a_key_opens_what_its_scope_says(
    published: Published, closed: Server, score_key: str, admin_key: str
) -> None:
    claim = published.claim()
    assert closed.score(claim, key=score_key).status_code == 200
    assert closed.post("/v1/score", json=claim, headers={"X-API-Key": score_key}).status_code == 200
    assert closed.get("/metrics", key=score_key).status_code == 403
    assert closed.get("/metrics", key=admin_key).status_code == 200
    assert closed.score(claim, key=admin_key).status_code == 403
    for path in ("/v1/model", "/v1/model/schema", "/metrics"):
        assert closed.get(path).status_code == 401
    for path in ("/healthz", "/readyz"):
        assert closed.get(path).status_code == 200


def test_prometheus_has_a_key_that_reads_metrics_and_nothing_else(
    published: Published, closed: Server, key_file: Path
) -> None:
    key = keys(key_file, "add", "--id", "prometheus", "--scopes", "metrics")
    closed.until(lambda: closed.get("/metrics", key=key).status_code == 200, 5)
    assert closed.score(published.claim(), key=key).status_code == 403
    assert closed.get("/v1/model", key=key).status_code == 403


@pytest.mark.parametrize("wrong", ["", "nobody's", "fk_" + "x" * 43, "ä", "a.b.c"])
def test_other_words_open_nothing(published: Published, closed: Server, wrong: str) -> None:
    for headers in ({"Authorization": f"Bearer {wrong}".encode()}, {"X-API-Key": wrong.encode()}):
        told = closed.post("/v1/score", json=published.claim(), headers=headers)
        assert told.status_code == 401
        assert not wrong or wrong not in told.text


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


def test_a_client_that_sends_nothing_is_not_waited_for(closed: Server, score_key: str) -> None:
    port = int(closed.url.rpartition(":")[2])
    head = (
        f"POST /v1/score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {score_key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(head.encode())
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]


def test_no_claim_and_no_key_is_ever_logged(
    published: Published, closed: Server, score_key: str
) -> None:
    claim = published.claim()
    closed.score(claim, key=score_key)
    closed.score(claim | {"amount": "secret-amount"}, key=score_key)
    deadline = time.monotonic() + 10  # the line is written when the answer has gone
    while (log := closed.log.read_text()).count('"route":"/v1/score"') < 2:
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    for value in (claim["claim_id"], claim["policyholder"], "secret-amount", score_key):
        assert value not in log


def test_the_access_log_names_who_reads_the_model(closed: Server, score_key: str) -> None:
    def named() -> bool:
        lines = [x for x in closed.log.read_text().splitlines() if '"/v1/model"' in x]
        return any(json.loads(line)["client"] == "desk" for line in lines)

    assert closed.get("/v1/model", key=score_key).status_code == 200
    closed.until(named)


def test_other_sites_may_call_only_when_they_are_named(
    published: Published, tmp_path: Path
) -> None:
    origin = "https://desk.example"
    with open_server(published, tmp_path, FRAUD_API_CORS_ORIGINS=origin) as named:
        told = named.score(published.claim(), headers={"Origin": origin})
        assert told.headers["access-control-allow-origin"] == origin
        other = named.score(published.claim(), headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        shown = told.headers["access-control-expose-headers"].split(", ")
        assert {"X-Request-Id", "X-Model-Version", "Retry-After", "WWW-Authenticate"} == set(shown)


@pytest.mark.parametrize(
    "origins",
    [
        "https://desk.example/",
        "https://ok.example,https://desk.example/page",
        "desk.example",
        "https://",
        "https://Desk.example",
        "https://me@desk.example",
        "https://*.example",
        "https://desk.example:443",
        "http://[::1]:80",
        "http://desk.example:08080",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(
    monkeypatch: pytest.MonkeyPatch, origins: str
) -> None:
    """It let nobody in, and nothing said so."""
    monkeypatch.setenv("FRAUD_API_CORS_ORIGINS", origins)
    with pytest.raises(SettingsError, match="is no origin: write scheme and host"):
        api_settings()


@pytest.mark.parametrize(
    "origins", ["", "*", "https://desk.example, http://127.0.0.1:3000", "http://[::80]:443"]
)
def test_origins_as_browsers_send_them_are_taken(
    monkeypatch: pytest.MonkeyPatch, origins: str
) -> None:
    monkeypatch.setenv("FRAUD_API_CORS_ORIGINS", origins)
    assert api_settings().cors_origins == origins


def test_settings_that_would_let_others_in_are_refused(tmp_path: Path) -> None:
    plain = {"FRAUD_API_OIDC_ISSUER": "http://issuer.example", "FRAUD_API_OIDC_AUDIENCE": "x"}
    with pytest.raises(SettingsError, match="plain HTTP"):
        Access(ApiSettings(**plain))
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"id": "x", "sha256": "my-plain-key"}]}')
    with pytest.raises(SettingsError, match="sha256") as told:
        Access(ApiSettings(FRAUD_API_KEYS_FILE=str(file)))
    assert "my-plain-key" not in str(told.value)

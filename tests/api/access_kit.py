"""An issuer of tokens, for servers that ask who comes."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

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

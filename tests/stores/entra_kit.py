"""What stands between a program and Azure, on this machine: a certificate, a managed identity's
endpoint that signs in, and a proxy by which `<account>.blob.core.windows.net` is Azurite."""

from __future__ import annotations

import base64
import contextlib
import http.server
import ipaddress
import json
import os
import selectors
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from store_servers import ACCOUNT, Tls

HOST = f"{ACCOUNT}.blob.core.windows.net"
AUDIENCE = "https://storage.azure.com"


def certificate(folder: Path) -> Tls:
    """Self-signed, for the account's own name and for this machine."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Tls(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def token(*, audience: str = AUDIENCE, hours: float = 1) -> str:
    """As Microsoft Entra gives one, of which Azurite reads everything but the signature.

    hours: until it expires; negative: since it did.
    """
    tenant, now = uuid.uuid4(), time.time()
    claims = {
        "aud": audience, "iss": f"https://sts.windows.net/{tenant}/", "tid": str(tenant),
        "iat": int(now - 7200), "nbf": int(now - 7200), "exp": int(now + 3600 * hours),
        "oid": str(uuid.uuid4()),
    }  # fmt: skip
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    head, body = (_base64(json.dumps(part).encode()) for part in parts)
    return f"{head}.{body}.{_base64(os.urandom(256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Identity:
    """A managed identity as App Service has it. asked: the resource of each token given."""

    secret: str = field(default_factory=lambda: uuid.uuid4().hex)
    token: str = field(default_factory=token)
    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def managed_identity() -> Iterator[Identity]:
    """https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference"""
    state = Identity()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["X-IDENTITY-HEADER"] != state.secret:
                self.send_error(401)
                return
            (resource,) = parse_qs(urlsplit(self.path).query)["resource"]
            state.asked.append(resource)
            answer = {"access_token": state.token, "expires_on": str(int(time.time()) + 86_400),
                      "resource": resource, "token_type": "Bearer"}  # fmt: skip
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with _serving(Handler) as url:
        state.url = f"{url}/msi/token"
        yield state


@dataclass
class Tunnel:
    """An HTTPS proxy of one's own. asked: the places that programs wanted to reach."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def tunnel(endpoint: str) -> Iterator[Tunnel]:
    """To Azurite for the account's name, and to nowhere else. TLS is between the two ends."""
    state, place = Tunnel(), urlsplit(endpoint)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            state.asked.append(self.path)
            if self.path != f"{HOST}:443":
                self.send_error(403)
                return
            with socket.create_connection((str(place.hostname), place.port or 443)) as there:
                self.send_response_only(200)
                self.end_headers()
                _carry(self.connection, there)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with _serving(Handler) as url:
        state.url = url
        yield state


@contextlib.contextmanager
def refusing(code: str, tls: Tls) -> Iterator[str]:
    """A blob service that refuses everybody everything, for that reason. Its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(403)
            self.send_header("x-ms-error-code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_HEAD = do_DELETE = _refuse  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with _serving(Handler, tls) as url:
        yield url


def _carry(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as waiting, contextlib.suppress(OSError):
        waiting.register(one, selectors.EVENT_READ, other)
        waiting.register(other, selectors.EVENT_READ, one)
        while True:
            for ready, _ in waiting.select():
                data = ready.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                if not data:
                    return
                ready.data.sendall(data)


@contextlib.contextmanager
def _serving(
    handler: type[http.server.BaseHTTPRequestHandler], tls: Tls | None = None
) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

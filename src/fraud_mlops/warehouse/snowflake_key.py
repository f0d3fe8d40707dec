"""The private key that signs a sync in: all that is wrong with it, before anything is connected to.

Nothing of the file is shown, and its path only where it is one for certain: who put the key itself
there should not find it in a log.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_PATH, _PHRASE = "SNOWFLAKE_PRIVATE_KEY_PATH", "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"
_LIKE_A_PATH, _LIKE_A_KEY = re.compile(r"[._~-]"), re.compile(r"[A-Za-z0-9+=]{32}")
"""The body of a key is base64, in which none of the former stand."""
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_LARGEST = 1 << 16
_DER = b"\x30"
"""With which a key begins that is not written in letters: of ASN.1, a sequence."""
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_LEAST_BITS = 2048
_MAKE = "docs/warehouse.md has the commands that make one"


def expanded(path: Path) -> Path:
    """`~` and `~user` as home folders, where there are such."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def wrong_key(path: Path, passphrase: SecretStr | None) -> list[str]:
    """Complaints about the file, its form, its passphrase and its kind, as many as can be told."""
    text = str(path)
    if "-----" in text or "\n" in text:
        return [f"{_PATH} holds the key itself; give the path of its file"]
    try:
        if path.is_fifo():
            return [_no_file(text, "is a pipe, which can be read once; give the path of a file")]
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except FileNotFoundError:
        return [_no_file(text, "there is no such file")]
    except IsADirectoryError:
        return [_no_file(text, "is a folder; give the path of a file")]
    except OSError as error:
        return [_no_file(text, f"cannot be read ({error.strerror})")]
    return [f"{_PATH}={path}: {complaint}" for complaint in _complaints(data, passphrase)]


def _no_file(text: str, why: str) -> str:
    if _LIKE_A_PATH.search(text) and not _LIKE_A_KEY.search(text):
        return f"{_PATH}={text}: {why}"
    return (
        f"{_PATH} is the path of no file that can be read, and is not shown, since it may be the "
        "key itself; give the path of its file"
    )


def _complaints(data: bytes, passphrase: SecretStr | None) -> list[str]:
    labels = [label.decode() for label in _LABEL.findall(data)]
    label = next((one for one in labels if one.endswith("PRIVATE KEY")), None)
    if label is None:
        return [_no_private_key(data, labels)]
    if label == "OPENSSH PRIVATE KEY":
        return [f"is in OpenSSH's own form, and not in PKCS 8; {_MAKE}"]
    encrypted = label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in data
    if encrypted and passphrase is None:
        return [f"is encrypted, and {_PHRASE} is not set"]
    found = []
    if passphrase is not None and not encrypted:
        found.append(f"is not encrypted, and {_PHRASE} is set; unset it")
    phrase = passphrase.get_secret_value() if passphrase is not None and encrypted else None
    return [*found, *_unusable(data, phrase)]


def _no_private_key(data: bytes, labels: list[str]) -> str:
    if not data.strip():
        return f"is empty; {_MAKE}"
    if any(one.endswith("PUBLIC KEY") for one in labels):
        return "is the public key, which is for Snowflake; give the private one of the pair"
    if labels:
        return f"is no private key, but a {labels[0].lower()}; {_MAKE}"
    if data.startswith(_DER):
        return (
            "is in DER, and not in PEM; openssl pkcs8 -topk8 -inform DER -in ... -out ... rewrites "
            "it"
        )
    return f"is no key in PEM, which begins with -----BEGIN PRIVATE KEY-----; {_MAKE}"


def _unusable(data: bytes, phrase: str | None) -> list[str]:
    """By reading it as the connector does. Nothing where its packages are not here: that is told
    by who connects."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        return []
    try:
        key = load_pem_private_key(data, None if phrase is None else phrase.encode())
    except UnsupportedAlgorithm:
        return [f"is of a kind, or encrypted in a way, that cannot be read; {_MAKE}"]
    except (TypeError, ValueError):
        if phrase is None:
            return [f"is damaged: what it holds is no key; {_MAKE}"]
        return [f"is not opened by {_PHRASE}: that is of another key, or the file is damaged"]
    return _of_no_use(key)


def _of_no_use(key: PrivateKeyTypes) -> list[str]:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    takes = f"Snowflake takes RSA of {_LEAST_BITS:,} bits or more (or ECDSA on P-256, 384, 521)"
    if isinstance(key, RSAPrivateKey):
        if key.key_size >= _LEAST_BITS:
            return []
        return [f"is an RSA key of {key.key_size:,} bits; {takes}"]
    if isinstance(key, EllipticCurvePrivateKey):
        return [] if key.curve.name in _CURVES else [f"is on the curve {key.curve.name}; {takes}"]
    kind = type(key).__name__.lstrip("_").removesuffix("PrivateKey") or "another"
    return [f"is no RSA key, but of the kind {kind}; {takes}"]

"""A deployment as its operator has it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from api_kit import Published
from composed import Composed
from issuer import Issuer

ROOT = Path(__file__).parents[2]


def procedure(name: str, page: str = "runbook.md") -> str:
    """The lines of a block of the runbook, or of another page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```sh test={name}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


@dataclass(frozen=True)
class Production:
    """What an operator has: a shell with docker in it, and a browser."""

    composed: Composed
    issuer: Issuer
    published: Published
    certificate: Path
    secrets: Path
    key: str

    @property
    def addresses(self) -> dict[str, str]:
        """Of Dagster, of the page that changes nothing, and of the API."""
        port = self.composed.ports["gateway:8443"]
        names = ("dagster", "viewer", "api")
        return {name: f"https://127.0.0.{n}:{port}" for n, name in enumerate(names, 1)}

    def shell(self, script: str, *, check: bool = True, **variables: str) -> str:
        """What a line, or several, of an operator's shell says."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env={"PATH": self.composed.path, "HOME": os.environ["HOME"], **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            start_new_session=True,  # no terminal: nobody is asked
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def ask(self, of: str, query: str, *, group: str, **variables: Any) -> Any:
        """Dagster's answer to a program with a token whose holder is in a group."""
        return requests.post(
            f"{self.addresses[of]}/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.issuer.token(groups=[group], email='ci')}"},
            verify=str(self.certificate),
            timeout=60,
        )

    def browser(self, **who: Any) -> requests.Session:
        """Of somebody whom the identity provider signs in."""
        self.issuer.who.clear()
        self.issuer.who.update(who)
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.certificate)
        session.headers["Accept"] = "text/html"
        return session

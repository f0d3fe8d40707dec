"""infra/requirements.lock: the pins that run in production, with the hash of every file of each.

    python scripts/lock.py

Pins are those of requirements.txt, and of infra/constraints.txt what the extras for production
bring beside them. Nothing is resolved anew: a version changes there, and then here. Images install
with `pip install --require-hashes --no-deps -r infra/requirements.lock`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "infra" / "requirements.lock"
EXTRAS = (
    "api",
    "aws",
    "azure",
    "databricks",
    "kubernetes",
    "notify",
    "otel",
    "postgres",
    "snowflake",
)
HEAD = """\
# Made by `make lock`; do not edit. Pins of requirements.txt and of the extras for production
# ({extras}), with the hash of every file that the package index has of each.
# torch: hashes are the package index's; a CPU build of PyTorch's own index, installed before this
# file, counts as there already.
"""
_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def main() -> int:
    base = pins("requirements.txt")
    more = pins("infra/constraints.txt")
    wanted = base | {name: more[name] for name in needed() if name in more}
    listed = "".join(f"{name}=={version}\n" for name, version in sorted(wanted.items()))
    options = ["--no-deps", "--generate-hashes", "--no-header", "--no-annotate"]
    text = HEAD.format(extras=", ".join(EXTRAS)) + uv(listed, *options)
    if not LOCK.exists() or LOCK.read_text(encoding="utf-8") != text:
        LOCK.write_text(text, encoding="utf-8")
    print(f"{LOCK.relative_to(ROOT)}: {len(wanted)} packages")
    return 0


def pins(file: str) -> dict[str, str]:
    """Version by canonical name."""
    found = _PIN.findall((ROOT / file).read_text(encoding="utf-8"))
    return {canonical(name): version for name, version in found}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> list[str]:
    """All that the project with these extras would install; the CUDA build's own among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"]]
    for extra in EXTRAS:
        asked += project["optional-dependencies"][extra]
    constraints = [f"--constraint={ROOT / 'requirements.txt'}"]
    constraints += [f"--constraint={ROOT / 'infra' / 'constraints.txt'}"]
    text = uv("\n".join(asked), *constraints, "--no-header", "--no-annotate")
    return [canonical(name) for name, _ in _PIN.findall(text)]


def uv(requirements: str, *options: str) -> str:
    """`uv pip compile` for every platform and Python that the project names."""
    command = ["uv", "pip", "compile", "-", "--universal", "--python-version=3.11", "--quiet"]
    beside = Path(sys.executable).with_name("uv")
    command[0] = str(beside) if beside.exists() else "uv"
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, *options], input=requirements, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"uv pip compile failed:\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

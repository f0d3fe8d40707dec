"""The image of Batch jobs without Docker: the commands of its Dockerfile, in an empty Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from interpreters import with_only

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "aws" / "Dockerfile"


def aws_image() -> Path:
    """Its interpreter. Raises NotInstalledError."""
    text = DOCKERFILE.read_text()
    (copied,) = re.findall(r"^COPY (.+) /tmp/$", text, re.MULTILINE)
    (script,) = re.findall(r"^RUN (pip (?:.*\\\n)*.*)", text, re.MULTILINE)
    files = {Path(name).name: (ROOT / name).read_text() for name in copied.split()}
    # Packages that this machine has are not fetched again, and PyTorch's index may be out of reach.
    script = script.replace("/tmp/", "").replace(" --no-cache-dir", "")  # noqa: S108
    return with_only(script.replace(" --index-url", " --extra-index-url"), files)


def image_variables() -> dict[str, str]:
    """What the Dockerfile sets for every process of a job."""
    (told,) = re.findall(r"^ENV ((?:.*\\\n)*.*)", DOCKERFILE.read_text(), re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(told.replace("\\\n", "")))

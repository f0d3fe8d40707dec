"""Code in the documentation: where it stands, and whether a reader could type it."""

from __future__ import annotations

import ast
import functools
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "infra/powerbi/README.md")),
    ]
)
_BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"<([a-z][\w-]*)>")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
_EXTRAS = re.compile(r"(?:\.|fraud-mlops)\[([\w,]+)\]")
_END = {"|", "||", "&&", ";", "&"}
_WORDS = {"do", "done", "then", "fi", "else", "for", "while", "if", "in", "!", "{", "}"}
_ELSEWHERE = {
    *(
        ".",
        "apt-get",
        "aws",
        "az",
        "base64",
        "cat",
        "cd",
        "chmod",
        "chown",
        "cp",
        "createdb",
        "curl",
    ),
    *("databricks", "docker", "dropdb", "echo", "export", "gh", "git", "grep", "head", "helm"),
    *(
        "htpasswd",
        "jq",
        "kill",
        "kind",
        "kubectl",
        "ln",
        "ls",
        "mkdir",
        "mktemp",
        "mv",
        "npm",
        "od",
    ),
    *("openssl", "pg_dump", "pg_restore", "printf", "psql", "rm", "rsync", "sed", "sleep"),
    *("snow", "source", "ssh", "sudo", "systemctl", "tail", "tar", "test", "timedatectl"),
    *("touch", "tr", "true", "umask", "unset"),
}
"""Programs that are not the project's: of them only files of the repository are looked at."""

_SOURCES = {"fraud_assets.launch": "fraud_assets/launcher", "api.keys": "api/keys.py"}


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    opened: str = ""
    """What stands after the language, such as `test=backup`."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Of all pages. A block without a language is a shell's."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            language = match[2] or "sh"
            inside = re.sub(rf"^{match[1]}", "", match[4], flags=re.MULTILINE)
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, language, inside, match[3].strip()))
    return [block for block in found if block.language in languages or not languages]


# -- shell ---------------------------------------------------------------------------------------


def commands(text: str) -> list[list[str]]:
    """Words of each command, without what is set before it, where it goes, and comments."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(_PLACEHOLDER.sub(r"\1", line), posix=True, punctuation_chars="()<>|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in [*lexer, ";"]:
            if word in _END:
                found.append(words)
                words = []
            elif set(word) <= set("<>&0123456789") and set(word) & set("<>"):
                skip = True  # the file that follows
            elif skip or word in ("(", ")"):
                skip = False
            elif words or not (_ASSIGNED.match(word) or word in _WORDS):
                words.append(word)
    return [words for words in found if words]


def mistake(words: list[str]) -> str | None:
    """What of a command is not there; None where a reader could type it."""
    program, *rest = words
    name = program.removeprefix(".venv/bin/")
    if name in ("python", "python3"):
        return _python(rest)
    if name == "make":
        return _make(rest)
    if name == "pip":
        return _pip(rest)
    if name == "fraud-mlops":
        from fraud_mlops.cli import main

        return _click(main, rest)
    if name == "uvicorn":
        from uvicorn.main import main as uvicorn

        return _click(uvicorn, rest)
    if re.match(r"(scripts|infra)/", name):
        return _script(name, rest)
    if name == "pytest" or name.startswith("dagster"):
        return _missing(_flags(rest), _help(name, *_subcommands(rest)), name)
    if name in _ELSEWHERE:
        # What is copied or moved somewhere need not be there yet.
        return _files(rest[:-1] if name in ("cp", "mv", "ln") else rest)
    return f"{name}: is no command that is known here"


def _python(words: list[str]) -> str | None:
    first, *rest = words
    if first == "-c":
        ast.parse(rest[0])
        return None
    if first == "-m":
        module, *rest = rest
        source = _SOURCES.get(module)
        return _missing(_flags(rest), _literals(source), module) if source else f"-m {module}?"
    if not (ROOT / first).is_file():
        return f"{first} is not there"
    if first.startswith("flows/"):
        return _missing(_flags(rest), _help(first, *_subcommands(rest)), first)
    return _script(first, rest)


def _script(name: str, words: list[str]) -> str | None:
    path = ROOT / name
    if not path.is_file() or (path.suffix == ".sh" and not os.access(path, os.X_OK)):
        return f"{name} is no script that can be run"
    known = _literals(name)
    for called in re.findall(r"scripts/\w+\.py", path.read_text(encoding="utf-8")):
        known |= _literals(called)
    if name in ("scripts/run_databricks_job.py", "scripts/run_step_functions.sh"):
        known |= _help("flows/fraud_detection_flow.py", "run")  # what it passes on
    return _missing(_flags(words), known, name)


def _make(words: list[str]) -> str | None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name = word.partition("=")[0]
        form = rf"\$[({{]{name}\b|^{name} [?:]?=" if "=" in word else rf"^{name}:"
        if not re.search(form, text, re.MULTILINE):
            return f"make knows no {name}"
    return None


def _pip(words: list[str]) -> str | None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for option, value in itertools.pairwise(words):
        if option in ("-r", "-c") and not (ROOT / value).is_file():
            return f"{value} is not there"
    named = {
        extra for word in words for match in _EXTRAS.findall(word) for extra in match.split(",")
    }
    unknown = named - project["optional-dependencies"].keys()
    return f"there is no extra {', '.join(unknown)}" if unknown else None


def _click(command: click.Command, words: list[str]) -> str | None:
    """By the command's own parser, without what its options do."""
    try:
        while isinstance(command, click.Group):
            context = click.Context(command)
            _, words, _ = command.make_parser(context).parse_args(list(words))
            if not words:
                return None
            found = command.get_command(context, words[0])
            if found is None:
                return f"there is no command {words[0]}"
            command, words = found, words[1:]
        command.make_parser(click.Context(command)).parse_args(list(words))
    except click.UsageError as error:
        return error.format_message()
    return None


def _files(words: list[str]) -> str | None:
    """Names that look like the repository's are there."""
    for word in words:
        path = word.removeprefix("file://")
        if (
            re.match(r"(infra|scripts|flows|docs|datasets)/[\w./-]+$", path)
            and not (ROOT / path).exists()
        ):
            return f"{path} is not there"
    return None


def _flags(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]


def _subcommands(words: list[str]) -> list[str]:
    """Those before the first option: `step-functions create`."""
    found = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        found.append(word)
    return found


def _missing(flags: list[str], known: set[str], name: str) -> str | None:
    unknown = [flag for flag in flags if flag not in known and flag != "--help"]
    return f"{name} has no {', '.join(unknown)}" if unknown else None


@functools.cache
def _help(program: str, *subcommands: str) -> set[str]:
    """Options that `--help` names."""
    start = [sys.executable, program] if program.endswith(".py") else [_beside(program)]
    done = subprocess.run(
        [*start, *subcommands, "--help"],
        cwd=ROOT,
        env=os.environ | {"METAFLOW_USER": "reader"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (
        f"{program} {subcommands}: {done.stdout[-500:]}{done.stderr[-500:]}"
    )
    return set(re.findall(r"--[a-z][\w-]*", done.stdout))


def _beside(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


@functools.cache
def _literals(source: str) -> set[str]:
    """Options that a script, or all files of a folder, name as text."""
    path = ROOT / source
    files = path.glob("*.py") if path.is_dir() else [path]
    return {
        flag for file in files for flag in re.findall(r"--[a-z][\w-]*", file.read_text("utf-8"))
    }

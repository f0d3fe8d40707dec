"""A run's packages are those that pip reads from the files, and nothing of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_metaflow.backends.databricks_git import Source
from dagster_metaflow.backends.databricks_requirements import as_package, requirements
from dagster_metaflow.backends.protocol import UsageError

HERE = Source("https://example.com/mine", "gitHub", "main", None)
FILES = {
    "requirements.txt": """\
# what it needs
pandas==3.1.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb\t# both
one\t# after a tab
two \\
# a comment ends it
three @ https://example.com/three.zip#sha256=1
-r infra/more.txt
one
""",
    "infra/more.txt": "--requirement=../infra/most.txt\nfour>=1 ; python_version > '3'\n",
    "infra/most.txt": "--extra-index-url https://example.com/simple\nfive\n-r more.txt",
}
READ = [
    "pandas==3.1.1     --hash=sha256:aa     --hash=sha256:bb",
    "one",
    "two",
    "three @ https://example.com/three.zip#sha256=1",
    "--extra-index-url https://example.com/simple",
    "five",
    "four>=1 ; python_version > '3'",
]


def written(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return requirements(root, HERE, ["requirements.txt"])


def test_continued_lines_comments_and_files_in_files_are_read_as_pip_does(tmp_path: Path) -> None:
    assert written(tmp_path, FILES) == READ
    assert as_package(READ[0]) == "pandas==3.1.1"
    assert as_package(READ[3]) == READ[3]
    assert as_package(READ[4]) is None


@pytest.mark.parametrize(
    "line",
    ["-c constraints.txt", "--constraint=c.txt", "-e .", "-e./x", "./lib", "../lib", ".", "/lib",
     "file:lib"],
)  # fmt: skip
def test_what_lies_on_this_machine_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="a file or folder of this machine"):
        written(tmp_path, {"requirements.txt": f"one\n{line}\n"})


@pytest.mark.parametrize("line", ["-r ../x.txt", "-r https://example.com/x.txt", "-r/etc/x.txt"])
def test_a_file_that_is_not_in_the_repository_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"requirements\.txt: .* not a file of the repository"):
        written(tmp_path, {"requirements.txt": f"{line}\n"})

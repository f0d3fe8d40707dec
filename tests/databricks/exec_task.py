"""Runs a Python file as a Databricks driver does: its text is executed, in a shell's process.

    python exec_task.py TASK.json

So there is no `__file__`, `sys.argv` is the task's, standard output is no file of the system's, and
`sys.exit` is an error as every exception is. What went wrong is left beside TASK.json.
"""

import io
import json
import sys
import traceback
from pathlib import Path


class Shell(io.TextIOBase):
    """What a notebook's kernel has in the place of standard output."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        self.stream.write(text)
        self.stream.flush()
        return len(text)

    def flush(self):
        self.stream.flush()


def main(task_file):
    task = json.loads(task_file.read_text())
    path = Path(task["python_file"])
    sys.argv = [task["argv0"] or str(path), *task["parameters"]]
    sys.path[0] = str(path.parent) if task["argv0"] is None else ""
    sys.stdout, sys.stderr = Shell(sys.stdout), Shell(sys.stderr)
    name = str(path) if task["named"] else "<command>"
    try:
        exec(compile(path.read_text(), name, "exec"), {"__name__": "__main__"})  # noqa: S102
    except BaseException as error:
        words = "".join(traceback.format_exception_only(error)).strip()
        told = {"error": words, "error_trace": traceback.format_exc()}
        task_file.with_name("error.json").write_text(json.dumps(told))
        return 1
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.exit(code)

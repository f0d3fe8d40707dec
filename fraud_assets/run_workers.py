"""A process that has Dagster and the code location imported, and forks a worker for each run.

    python -m fraud_assets.run_workers READ_FD WRITE_FD [MODULE ...]

Requests come in as JSON lines, `{}` to ask how it is, or `{"arguments": [...], "lock": path}` for
`dagster ARGUMENTS` in a worker; answers go out as `{"pid": n}`, `{}`, or `{"stale": file}` once a
file that the imports read has changed, after which the process ends. It ends with its requests
too, so that nothing is left when the daemon dies; workers go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import signal
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import NoReturn

Stamp = tuple[int, int]
_DAGSTER = (
    "dagster._cli",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.workspace.autodiscovery",
    "fraud_assets.instance",
    "fraud_assets.postgres_storage" if "DAGSTER_POSTGRES_URL" in os.environ else "sqlite3",
)


class Watched:
    """Files and folders of the project that were read while modules were imported.

    An import may read more than modules, such as dataset contracts, so what is opened counts. A
    worker must not run code that the file system no longer holds: a spawned one would not.
    """

    def __init__(self) -> None:
        self.stamps: dict[str, Stamp | None] = {}
        self.listening = True
        library = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
        self._elsewhere = (*library, sys.prefix, sys.base_prefix, "/proc", "/dev", "/sys", "/etc")

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook."""
        if self.listening and event in ("open", "os.listdir", "os.scandir"):
            path = arguments[0]
            if event == "open" and int(str(arguments[2] or 0)) & (os.O_WRONLY | os.O_RDWR):
                return
            if isinstance(path, str) and not path.endswith(".pyc"):
                path = str(Path(path).absolute())
                if not path.startswith(self._elsewhere) and "__pycache__" not in path:
                    self.stamps.setdefault(path, stamp(path))

    def settle(self) -> None:
        """Adds sources, which a compiled file was read for; forgets what was there for a moment."""
        self.listening = False
        # The import system lists the folders that it looks for modules in, and those change often.
        searched = {str(Path(folder).absolute()) for folder in sys.path_importer_cache}
        self.stamps = {
            path: before
            for path, before in self.stamps.items()
            if path not in searched and stamp(path)
        }
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if path and not path.startswith(self._elsewhere):
                self.stamps.setdefault(path, stamp(path))

    def changed(self) -> str | None:
        """The first that is not what it was."""
        for path, before in self.stamps.items():
            if stamp(path) != before:
                return path
        return None


def stamp(path: str) -> Stamp | None:
    """When and how large; None where there is nothing."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def main(read: int, write: int, modules: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for workers; this ends by itself
    watched = Watched()
    sys.addaudithook(watched.hear)
    warm_up(modules)
    watched.settle()
    warm_up_dagster()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers that end leave no zombie
    with os.fdopen(read, "rb", buffering=0) as requests:
        for line in requests:
            stale = watched.changed()
            if stale:
                print(f"{stale} has changed; importing anew", file=sys.stderr, flush=True)
                answer(write, {"stale": stale})
                return
            serve(json.loads(line), read, write)


def warm_up(modules: list[str]) -> None:
    """Does what each worker would do for itself until its first step, as far as all do the same.

    Raises:
        ImportError: and whatever else a module of `modules` raises.
    """
    for name in modules:
        importlib.import_module(name)
    from dagster import Definitions

    for name in modules:
        for value in list(vars(sys.modules[name]).values()):
            if isinstance(value, Definitions):
                value.get_repository_def()


def warm_up_dagster() -> None:
    """Imports what Dagster itself imports late. Names may move; then a worker imports them."""
    for name in _DAGSTER:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def serve(request: dict[str, object], read: int, write: int) -> None:
    """Answers a request; the worker that it may ask for never returns from here."""
    if "arguments" not in request:
        answer(write, {})
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        work(request, read, write)


def work(request: dict[str, object], read: int, write: int) -> NoReturn:
    """The worker's life. It holds the lock for as long as it lives, however it dies."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(read)
        lock = Path(str(request["lock"]))
        handle = hold(lock)
        answer(write, {"pid": os.getpid()})
        os.close(write)
        try:
            code = run(request["arguments"])
        finally:
            lock.unlink(missing_ok=True)
            os.close(handle)
    except BaseException:  # there is nobody above to tell
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def hold(lock: Path) -> int:
    """A POSIX lock: the kernel lets go of it with the process, and children do not inherit it."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def run(arguments: object) -> int:
    """`dagster ARGUMENTS`, in this process; its exit code."""
    from dagster._cli import cli

    try:
        cli.main(args=arguments, prog_name="dagster", standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def answer(write: int, content: dict[str, object]) -> None:
    os.write(write, json.dumps(content).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

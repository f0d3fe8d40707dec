"""How a program ends that has read Parquet."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Ends the process at once, without taking Python down.

    Threads of Arrow's pool let go of what they have read a moment after the reader has it all. That
    is Python's where Python has opened the object, as on other stores than a folder, and a thread
    that asks for Python while that is being taken down is ended where C++ allows no ending: the
    process aborts, with exit code 134 (6 of 240 runs of a command that fails right after it has
    read, on two busy cores). Nobody can wait for these threads. What a command has opened, it has
    closed by now.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # who reads it has seen enough: `| head`
            pass
        except OSError:  # a full disk
            code = code or 1
    os._exit(code)

"""The log in the store, in pieces: each line once and in order, whatever becomes of a write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dagster_metaflow.backends.databricks_attempt import Attempt
from dagster_metaflow.backends.databricks_driver import Output


class LateStore(MemoryFileSystem):
    """Takes what it is given, and answers too late where it is told to."""

    protocol = "late"
    late = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("late://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **how: Any) -> None:
        super().pipe_file(path, value, mode, **how)
        if type(self).late:
            raise TimeoutError("no answer")


@pytest.fixture
def store() -> Iterator[str]:
    fsspec.register_implementation("late", LateStore, clobber=True)
    yield "late://lake"
    LateStore.late = False
    LateStore.store.clear()


def test_a_piece_that_may_have_been_read_is_not_changed(store: str) -> None:
    attempt = Attempt.begin(store, "flows/a_flow.py", "one", None)
    output, read = Output(attempt, []), list[str]()

    def follow(piece: int) -> None:
        """Once: who follows goes on to the next."""
        read.append(LateStore().cat_file(f"lake/_databricks/a_flow/one/1/{piece:06d}.log").decode())

    output.take("1")
    LateStore.late = True
    output.ship()
    follow(0)
    output.take("2")
    output.ship()
    LateStore.late = False
    output.take("3")
    output.ship()
    follow(1)
    assert read == ["1\n", "2\n3\n"]
    assert attempt.tail() == "1\n2\n3"

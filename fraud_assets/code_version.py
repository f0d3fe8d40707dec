"""A code version of code that an asset calls: of what it does, not of how it is written down."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path


def code_version(paths: Iterable[Path], *more: str) -> str:
    """Of Python files, whatever their comments, docstrings and line breaks, and of `more`."""
    digest = hashlib.sha256("\n".join(more).encode())
    for path in paths:
        tree = _Undocumented().visit(ast.parse(path.read_text(encoding="utf-8")))
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()[:16]


class _Undocumented(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node

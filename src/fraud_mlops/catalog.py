"""Find a dataset contract by name or path, and say where it is wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError
from fraud_mlops.settings import settings
from fraud_mlops.sources import FileSource
from fraud_mlops.words import closest

_REPOSITORY_DATASETS = Path(__file__).parents[2] / "datasets"
_PACKAGED_DATASETS = Path(__file__).parent / "_datasets"


def dataset_folders() -> list[Path]:
    """Where names are looked up: `FRAUD_DATASETS_DIR`, ./datasets, the project's own."""
    named = settings().datasets_dir
    if named and not named.expanduser().is_dir():
        raise ContractError(f"FRAUD_DATASETS_DIR={named}: is no folder; correct or unset it")
    folders = [named.expanduser()] if named else []
    folders += [Path("datasets"), _REPOSITORY_DATASETS, _PACKAGED_DATASETS]
    return [folder for folder in folders if folder.is_dir()]


def available() -> dict[str, Path]:
    """Contract files by dataset name; an earlier folder wins."""
    found: dict[str, Path] = {}
    for folder in dataset_folders():
        for path in sorted(folder.glob("*.y*ml")):
            found.setdefault(path.stem, _placed(path))
    return found


def load(dataset: str | os.PathLike[str]) -> Contract:
    """The contract called `dataset`, or the one in the YAML file of that path or address.

    Raises ContractError with file, line, column and field of every mistake at once.
    """
    named = os.fspath(dataset)
    if "://" not in named:
        path = find(named)
        return _anchored(_load(path), path.parent)
    # As an orchestrator passes it to tasks that do not see its disk.
    contract = _load(named)
    if isinstance(contract.source, FileSource) and _is_relative(contract.source.uri):
        raise ContractError(
            f"{named}: source.uri is meant from the contract's folder, which tasks elsewhere do "
            "not see. Give an address that they can read, such as s3://bucket/claims/*.csv."
        )
    return contract


def _load(path: Path | str) -> Contract:
    tree, data = read_yaml(path)
    if not isinstance(data, dict):
        raise ContractError(f"{path}: expected a mapping with name, source, event_time, label")
    try:
        contract = Contract.model_validate(data)
    except ValidationError as error:
        raise ContractError(_explain(path, tree, error)) from None
    if isinstance(path, Path):
        _require_own_name(path, tree, contract)
    return contract


def _require_own_name(path: Path, tree: yaml.Node | None, contract: Contract) -> None:
    """A contract that is found by its file's name has that name: claims and models go by it."""
    if contract.name == path.stem or path not in available().values():
        return
    line, column = position(tree, ("name",))
    raise ContractError(
        f"{path}: 1 mistake(s) in the contract\n  line {line}, column {column}: name: is "
        f"{contract.name!r}, and the file is called {path.stem!r}: in a datasets folder both are "
        "one word. Give a copy that is another dataset a name of its own; else call the file "
        f"{contract.name}{path.suffix}, so that claims and models of that name are found"
    )


def read_yaml(path: Path | str) -> tuple[yaml.Node | None, Any]:
    """What a YAML file says, and its nodes, which know their lines. path: or an address.

    Raises ContractError that says where the file is not YAML, or says one thing twice.
    """
    try:
        text = _text(path)
        tree = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ContractError(f"{path}: not YAML: {where_yaml_broke(error)}") from None
    return tree, data


def _text(path: Path | str) -> str:
    if isinstance(path, Path):
        return path.read_text(encoding="utf-8-sig")
    from fraud_mlops.lakehouse.stores import read_bytes

    return read_bytes(path).decode("utf-8-sig")


class _Loader(yaml.SafeLoader):
    """Tells where a value cannot be (31 February) and where a key comes a second time.

    PyYAML raises a bare ValueError for the one and lets the last win for the other.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!r}: {error}", node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands here a second time", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)


def find(dataset: str) -> Path:
    """The contract file of a name or path. Raises ContractError when there is none."""
    if dataset.endswith((".yaml", ".yml")) or os.sep in dataset:
        path = Path(dataset).expanduser()
        if not path.is_file():
            raise ContractError(f"{dataset}: no such contract file")
        return _placed(path)
    known = available()
    if dataset not in known:
        names = ", ".join(sorted(known)) or "none"
        raise ContractError(
            f"no dataset is called {dataset!r}. Known: {names}. "
            "Give one of these, or the path of a contract YAML."
        )
    return known[dataset]


def _placed(path: Path) -> Path:
    """Where the file stands: of a link, as Kubernetes mounts a ConfigMap, not where it leads to."""
    return path.parent.resolve() / path.name


def _anchored(contract: Contract, folder: Path) -> Contract:
    """A relative source is meant from the YAML's folder, wherever the run is started."""
    source = contract.source
    if not isinstance(source, FileSource):
        return contract
    uri, *others = (_from(folder, uri) for uri in (source.uri, *source.same_as))
    found = source.model_copy(update={"uri": uri, "same_as": tuple(others)})
    return contract.model_copy(update={"source": found})


def _from(folder: Path, uri: str) -> str:
    """Of a chain (`zip://claims.csv::claims.zip`) it is the last link that lies in a folder."""
    chain, sign, last = uri.rpartition("::")
    if _is_relative(last):
        last = os.path.normpath(folder / Path(last).expanduser())
    return f"{chain}{sign}{last}"


def _is_relative(uri: str) -> bool:
    return "://" not in uri and not Path(uri).is_absolute()


def where_yaml_broke(error: yaml.YAMLError) -> str:
    """Line, column (from 1) and problem, without the excerpt that PyYAML adds."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _explain(path: Path | str, tree: yaml.Node | None, error: ValidationError) -> str:
    lines = [f"{path}: {error.error_count()} mistake(s) in the contract"]
    for mistake in error.errors(include_url=False, include_context=False):
        loc = mistake["loc"]
        line, column = position(tree, loc)
        field = _field(tree, loc, absent=mistake["type"] == "missing") or "contract"
        lines.append(f"  line {line}, column {column}: {field}: {_said(mistake)}")
    return "\n".join(lines)


def _said(mistake: ErrorDetails) -> str:
    if mistake["type"] != "extra_forbidden":
        return mistake["msg"].removeprefix("Value error, ")
    *outer, name = mistake["loc"]
    near = closest(str(name), _fields_of(outer))
    return "there is no such field" + (f" (did you mean {near!r}?)" if near else "")


def _fields_of(loc: Sequence[Any]) -> set[str]:
    """Those that a contract has there; of all kinds where there are several."""
    models: list[type[BaseModel]] = [Contract]
    for part in loc:
        if held := [m.model_fields[part] for m in models if part in m.model_fields]:
            models = [model for field in held for model in _models_in(field.annotation)]
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _field(node: yaml.Node | None, loc: tuple[Any, ...], *, absent: bool) -> str:
    """`split.oot.start`: the parts of `loc` that the file has, and the last when that is absent."""
    parts = []
    for part in loc:
        if inner := _inside(node, part):
            parts.append(str(part))
            node = inner[1]
    return ".".join([*parts, str(loc[-1])] if absent else parts)


def position(node: yaml.Node | None, loc: tuple[Any, ...]) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of `loc` that stands in the file.

    Parts that pydantic adds (a union's branch) match no key and are passed over.
    """
    mark = node.start_mark if node else None
    for part in loc:
        if inner := _inside(node, part):
            mark, node = inner
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _inside(node: yaml.Node | None, part: Any) -> tuple[yaml.Mark, yaml.Node] | None:
    """Where `part` of a mapping or list stands, and what it holds."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark, value
    elif isinstance(node, yaml.SequenceNode) and part in range(len(node.value)):
        return node.value[part].start_mark, node.value[part]
    return None

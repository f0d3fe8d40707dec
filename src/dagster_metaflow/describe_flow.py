"""Tells what a flow is, as JSON: a program that Dagster's side runs, so that it loads no flow.

    python describe_flow.py FLOW_FILE

A flow file is a user's code: it may import anything, set variables, and needs Metaflow. Run apart,
none of it stays in Dagster's process.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from pathlib import Path
from typing import Any


def describe(path: Path) -> dict[str, Any]:
    """Raises SystemExit with a message when the file holds not exactly one flow."""
    from metaflow.flowspec import FlowStateItems

    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    flow = _only_flow(path, module)
    return {
        "name": flow.__name__,
        "description": inspect.getdoc(flow) or "",
        "parameters": [
            _parameter(name, found)
            for name, found in flow._get_parameters()
            if not getattr(found, "IS_CONFIG_PARAMETER", False)
        ],
        "steps": [_step(node) for node in _in_order(flow._graph)],
        "is_of_a_project": "project" in flow._flow_state[FlowStateItems.FLOW_DECORATORS],
    }


def _only_flow(path: Path, module: Any) -> Any:
    from metaflow import FlowSpec

    flows = [
        found
        for found in vars(module).values()
        if inspect.isclass(found)
        and issubclass(found, FlowSpec)
        and found.__module__ == module.__name__
    ]
    if len(flows) != 1:
        raise SystemExit(f"{path}: holds {len(flows)} flows; a flow file holds one")
    return flows[0]


def _parameter(name: str, parameter: Any) -> dict[str, Any]:
    """default: None also where it is computed when the run starts."""
    from metaflow.parameters import DeployTimeField

    parameter.init(ignore_errors=True)
    options = parameter.kwargs
    default = options.get("default")
    computed = callable(default) or isinstance(default, DeployTimeField)
    if computed:
        default = None
    kind = options.get("type") or (type(default) if default is not None else str)
    return {
        "name": name,
        "option": parameter.name,
        "type": getattr(kind, "name", None) or getattr(kind, "__name__", None) or str(kind),
        "default": default if _is_json(default) else str(default),
        "required": bool(options.get("required")) and default is None and not computed,
        "help": (options.get("help") or "").strip(),
        "separator": parameter.separator,
    }


def _is_json(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | dict | None)


def _in_order(graph: Any) -> list[Any]:
    """Steps from `start` on, each once and after all that lead to it, but for loops."""
    found: dict[str, Any] = {}
    waiting = ["start"]
    while waiting:
        ready = (name for name in waiting if set(graph[name].in_funcs) <= found.keys())
        name = next(ready, waiting[0])
        waiting.remove(name)
        found[name] = graph[name]
        waiting += [n for n in graph[name].out_funcs if n not in found and n not in waiting]
    return list(found.values())


def _step(node: Any) -> dict[str, Any]:
    return {
        "name": node.name,
        "description": (node.doc or "").strip(),
        "foreach": node.foreach_param,
        "cards": [
            deco.attributes.get("id") or deco.attributes.get("type")
            for deco in node.decorators
            if deco.name == "card"
        ],
        "queue": next(filter(None, map(_own_queue, node.decorators)), None),
    }


def _own_queue(deco: Any) -> str | None:
    """Of AWS Batch, where it is not the one that Metaflow is configured with."""
    queue = deco.attributes.get("queue") if deco.name == "batch" else None
    return None if queue is None or queue == deco.defaults["queue"] else str(queue)


if __name__ == "__main__":
    print(json.dumps(describe(Path(sys.argv[1]).resolve())))

"""Metaflow runs as Dagster assets. Generic: knows nothing of fraud.

Names are loaded when they are asked for: a flow that writes reports pays for no Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster_metaflow.component import MetaflowComponent
    from dagster_metaflow.decorator import metaflow_assets
    from dagster_metaflow.flow import MetaflowFlow
    from dagster_metaflow.parameters import ProtocolParameters
    from dagster_metaflow.resource import BACKEND_TAG, MetaflowResource
    from dagster_metaflow.sensors import build_external_runs_sensor
    from dagster_metaflow.translator import MetaflowTranslator

METAFLOW_PACKAGE_POLICY = "include"

__all__ = [
    "BACKEND_TAG",
    "MetaflowComponent",
    "MetaflowFlow",
    "MetaflowResource",
    "MetaflowTranslator",
    "ProtocolParameters",
    "build_external_runs_sensor",
    "metaflow_assets",
]

_HOMES = {
    "BACKEND_TAG": "resource",
    "MetaflowComponent": "component",
    "MetaflowFlow": "flow",
    "MetaflowResource": "resource",
    "MetaflowTranslator": "translator",
    "ProtocolParameters": "parameters",
    "build_external_runs_sensor": "sensors",
    "metaflow_assets": "decorator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

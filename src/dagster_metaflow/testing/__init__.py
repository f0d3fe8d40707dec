"""For users of the library: a backend that plays a script, and a contract for one's own backend.

from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource
from dagster_metaflow.testing.contract import BackendContract
"""

from __future__ import annotations

from dagster_metaflow.testing.resource import scripted_resource
from dagster_metaflow.testing.scripted import ScriptedBackend, ScriptedStep

__all__ = ["ScriptedBackend", "ScriptedStep", "scripted_resource"]

"""Teachers that are models in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemist_runtime.schema.registry import teacher

if TYPE_CHECKING:
    from alchemist_runtime.calls.teacher import Client
    from alchemist_runtime.schema import plan


@teacher(answers="model")
def transformers(spec: plan.Teacher) -> Client:
    """A model in this process: of a folder, of the hub, or one that the recipe trains."""
    from alchemist_runtime.teachers._in_process import InProcess

    return InProcess(spec)

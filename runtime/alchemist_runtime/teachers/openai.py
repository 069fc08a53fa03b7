"""Teachers behind an OpenAI-compatible server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemist_runtime.schema.registry import teacher

if TYPE_CHECKING:
    from alchemist_runtime.calls.teacher import Client
    from alchemist_runtime.schema import plan


@teacher()
def openai(spec: plan.Teacher) -> Client:
    """A model behind the OpenAI API, or behind any server that speaks it."""
    from alchemist_runtime.calls.openai_client import Chat, headers_of, key_of

    return Chat(spec, key_of(spec), headers_of(spec))

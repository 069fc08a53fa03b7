"""Recorded answers to a teacher's questions, whatever provider gave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alchemist_runtime.calls.cache import CallCache, identity
from alchemist_runtime.calls.teacher import Reply, Request, call_key
from alchemist_runtime.schema import catalog, plan

#: What tells teachers apart that answer the same question: who passes it on, and in which version.
_WHO = ("teacher.provider", "teacher.version")


class Recorded:
    """Answers to a teacher's questions, whatever provider gave them.

    The key of an answer holds the provider. So a question is looked up under its own key, then under that of each
    provider of this version, then under the identities that the recording tells of and that differ in the provider
    alone; where the teacher names no `base_url`, in that and in `query` too."""

    def __init__(self, cache: CallCache, spec: plan.Teacher) -> None:
        self._cache = cache
        own = spec.identity_of
        found = [_by(own, name) for name in catalog.names("teachers") if name != "replay"]
        found += [told for text in cache.identities() if _same(told := json.loads(text), own)]
        free = [told for told in found if catalog.offline(str(told.get(_WHO[0])))]  # where others were paid
        self._others = {
            plan.digest(told): replace(spec, provider=str(told.get(_WHO[0])), identity_key=plan.digest(told))
            for told in [told for told in found if told not in free] + free
            if told != own
        }

    def keys(self, request: Request) -> set[bytes]:
        """Every key that an answer to a question may have."""
        return {request.call_key, *(_key(other, request) for other in self._others.values())}

    def get_many(self, requests: Sequence[Request]) -> dict[bytes, Reply]:
        """The answers that are there, by the key of the request."""
        found = self._cache.get_many([r.call_key for r in requests])
        for other in self._others.values():
            lacking = [r for r in requests if r.call_key not in found]
            keys = {_key(other, r): r.call_key for r in lacking}
            found |= {keys[k]: reply for k, reply in self._cache.get_many(list(keys)).items()}
        return found


def _key(spec: plan.Teacher, r: Request) -> bytes:
    return call_key(spec, r.messages, r.outputs, r.sample, inputs=r.inputs, rules=r.rules, continues=r.continues)


def _by(own: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The identity of the same teacher behind another provider."""
    told = {**own, _WHO[0]: provider}
    told.pop(_WHO[1], None)
    if (component := catalog.find("teachers", provider)) is not None and component.offline:
        told[_WHO[1]] = component.version
    return told


def _same(told: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether an identity is that of the same teacher, but for who passes questions on."""
    left = {*_WHO} if "teacher.base_url" in own else {*_WHO, "teacher.base_url", "teacher.query"}
    mine, theirs = ({n: v for n, v in of.items() if n not in left} for of in (own, told))
    return identity(mine) == identity(theirs)

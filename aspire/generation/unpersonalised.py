"""``personaliser=none``: the model as it is, called by the class's name. An arm for comparison."""

from __future__ import annotations

from collections.abc import Mapping

from aspire.generation.base import ClassEvidence
from aspire.generation.contexts import described
from aspire.pipeline.records import Concept, Rejected
from aspire.pipeline.stage import Json


class Unpersonalised:
    """Scenes free of the spurious features, and nothing learnt about the class.

    Args:
        max_contexts: scenes kept, strongest first.
    """

    def __init__(self, max_contexts: int = 40) -> None:
        self.max_contexts = max_contexts

    def identity(self) -> Mapping[str, Json]:
        return {"personaliser": "none", "max_contexts": self.max_contexts}

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        return described(evidence, self.max_contexts)

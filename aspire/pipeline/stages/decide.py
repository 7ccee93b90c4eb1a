"""What a person decided, as stages of their own behind those that it is about.

Each takes the name of the stage whose records it gives anew, so that whatever reads those reads
these. Without decisions none of them is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from aspire.identity import Json
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import FilterDecision, PhraseGroup, Rejected, SpuriousFeature
from aspire.stored.decisions import Key


@dataclass(frozen=True)
class Found:
    """What a stage has made before anybody decided."""

    features: tuple[SpuriousFeature, ...] = ()
    without: tuple[Rejected, ...] = ()
    groups: tuple[PhraseGroup, ...] = ()
    verdicts: tuple[FilterDecision, ...] = ()


class MergePhrases:
    """PhraseGroups -> PhraseGroups, of which some are counted together.

    Args:
        merged: name of a group -> name of the group that it joins.
    """

    name: ClassVar[str] = "collapse"
    version: ClassVar[int] = 1
    record = PhraseGroup

    def __init__(self, merged: Mapping[str, str]) -> None:
        self.merged = merged

    def identity(self) -> Mapping[str, Json]:
        return {"a person merged": dict(self.merged)}

    def item_id(self, item: Found) -> str:
        return "all"

    def run(self, items: Sequence[Found], save: SaveImage) -> Iterator[ItemResult[PhraseGroup]]:
        for item in items:
            members: dict[str, set[str]] = {}
            for group in item.groups:
                name = self.merged.get(group.phrase, group.phrase)
                members.setdefault(name, set()).update(group.members)
            groups = (PhraseGroup(phrase=n, members=tuple(sorted(members[n]))) for n in members)
            yield ItemResult("all", tuple(sorted(groups, key=lambda g: g.phrase)))


class JudgeFeatures:
    """SpuriousFeatures -> SpuriousFeatures, called shortcuts or not as a person says.

    The evidence stays as it is. Within a class the shortcuts come first again.

    Args:
        judged: feature -> whether it is a shortcut.
        class_names: in index order.
    """

    name: ClassVar[str] = "discover"
    version: ClassVar[int] = 1
    record = SpuriousFeature

    def __init__(self, judged: Mapping[Key, bool], class_names: Sequence[str]) -> None:
        self.judged = judged
        self.class_names = class_names

    def identity(self) -> Mapping[str, Json]:
        return {"a person judged": [[*key, yes] for key, yes in sorted(self.judged.items())]}

    def item_id(self, item: Found) -> str:
        return "all"

    def run(self, items: Sequence[Found], save: SaveImage) -> Iterator[ItemResult[SpuriousFeature]]:
        for item in items:
            features: list[SpuriousFeature] = []
            without: list[Rejected] = []
            details = {r.item_id: r for r in item.without}
            for y in range(len(self.class_names)):
                mine = [f for f in item.features if f.y == y]
                judged = [
                    msgspec.structs.replace(
                        f, spurious=self.judged.get((f.y, f.kind, f.phrase), f.spurious)
                    )
                    for f in mine
                ]
                judged.sort(key=lambda f: not f.spurious)
                features += [
                    msgspec.structs.replace(f, rank=n, feature_id=f"{y:03d}/{n:04d}")
                    for n, f in enumerate(judged, start=1)
                ]
                if not any(f.spurious for f in judged):
                    gone = ", ".join(f"'{f.phrase}'" for f in mine if f.spurious)
                    told = Rejected(
                        item_id=f"{y:03d}",
                        reason="no_spurious_feature",
                        detail=f"a person rejected what was found: {gone}",
                    )
                    without.append(told if gone else details.get(told.item_id, told))
            yield ItemResult("all", tuple(features), tuple(without))


class SortImages:
    """FilterDecisions -> FilterDecisions, kept or dropped as a person says.

    Args:
        kept: img_id -> whether it is kept; of the others the filters' word holds.
    """

    name: ClassVar[str] = "filter"
    version: ClassVar[int] = 1
    record = FilterDecision

    def __init__(self, kept: Mapping[str, bool]) -> None:
        self.kept = kept

    def identity(self) -> Mapping[str, Json]:
        return {"a person sorted": dict(self.kept)}

    def item_id(self, item: Found) -> str:
        return "all"

    def run(self, items: Sequence[Found], save: SaveImage) -> Iterator[ItemResult[FilterDecision]]:
        def sorted_out(verdict: FilterDecision) -> FilterDecision:
            keep = self.kept.get(verdict.img_id)
            if keep is None or keep == verdict.kept:
                return verdict
            reason = None if keep else "person"
            return msgspec.structs.replace(verdict, kept=keep, reason=reason)

        for item in items:
            yield ItemResult("all", tuple(map(sorted_out, item.verdicts)))

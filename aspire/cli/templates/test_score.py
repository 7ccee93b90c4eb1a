"""Blank: its verdicts by hand."""

from __future__ import annotations

from aspire.cli.templates.score import Blank
from aspire.discovery.base import Candidate, Evidence, Verdict
from aspire.records import Effect


def candidate(*after: float) -> Candidate:
    effects = [
        Effect(
            edit_id=str(number), img_id=str(number), y=0, kind="change_background", phrase="lake",
            replacement="wood", p_before=0.75, p_after=p, predicted_after=0,
        )
        for number, p in enumerate(after)
    ]  # fmt: skip
    return Candidate(0, "change_background", "lake", tuple(effects), {"lake": len(effects)})


def test_verdicts_by_hand() -> None:
    evidence = Evidence((candidate(0.25, 0.5), candidate(0.75, 0.75), candidate(0.0)))
    verdicts = Blank(min_support=2, min_drop=0.1).judge(evidence)
    assert verdicts == [Verdict(0.375, True), Verdict(0.0, False), None]

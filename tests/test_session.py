"""A process remembers one record of each kind, as long as a command runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from aspire.session import new_session, session


@dataclass
class Seen:
    names: list[str] = field(default_factory=list)


def test_a_record_is_kept_and_forgotten_with_the_session() -> None:
    with new_session():
        session().of(Seen).names.append("a")
        assert session().of(Seen).names == ["a"]
        with new_session():
            assert session().of(Seen).names == []
        assert session().of(Seen).names == ["a"]


def test_a_record_is_replaced_for_a_while() -> None:
    with new_session():
        before = session().of(Seen)
        with session().replaced(Seen(["b"])):
            assert session().of(Seen).names == ["b"]
        assert session().of(Seen) is before

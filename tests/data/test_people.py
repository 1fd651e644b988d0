"""Ages and sexes as data sets write them."""

from __future__ import annotations

import pytest

from wsrpn_vl.data.people import sex_of, years

AGES = [
    ("043Y", 43), ("43", 43), (" 43 ", 43), ("43.0", 43), ("0", 0), ("120", 120), ("011M", 0), ("030M", 2),
    ("104W", 2), ("729D", 1), ("121", None), ("155", None), ("414Y", None), ("", None), (None, None), ("-5", None),
    ("old", None), ("4x", None), ("\u0664\u0663", None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "age"), AGES)
def test_ages_are_whole_years_up_to_the_possible(said: str | None, age: int | None) -> None:
    assert years(said) == age


@pytest.mark.parametrize(
    ("said", "sex"), [("M", "M"), ("f", "F"), ("Female", "F"), (" male ", "M"), ("O", None), ("", None), (None, None)]
)
def test_sex_is_one_letter_or_unknown(said: str | None, sex: str | None) -> None:
    assert sex_of(said) == sex

"""Errors: one family, one line, the nearest name."""

from __future__ import annotations

import pickle

import pytest

from wsrpn_vl import errors
from wsrpn_vl.errors import ConfigError, DataError, WsrpnVlError, lookup, nearest, wordless


def test_every_error_of_the_package_is_of_one_family() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(kinds) >= 7
    assert all(issubclass(kind, WsrpnVlError) and (kind.__doc__ or "").strip() for kind in kinds)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("densnet121", "; did you mean 'densenet121'?"),
        ("RESNET", "; known: densenet121, resnet18, vit"),
        ("", "; known: densenet121, resnet18, vit"),
    ],
)
def test_nearest_names_one_or_lists_all(name: str, expected: str) -> None:
    assert nearest(name, ["resnet18", "vit", "densenet121"]) == expected


def test_nearest_lists_only_the_beginning_of_many() -> None:
    """1,000 names of 6 characters and a comma and a blank each: 400 characters hold 50 of them."""
    said = nearest("?", (f"name{n:02d}" if n < 100 else f"n{n:05d}" for n in range(1000)))
    assert said.endswith(" … (1,000 in all)") and said.count(",") == 50 and len(said) < 440


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    """The place at the beginning and the mend at the end are kept."""
    message = str(DataError(f"a.csv: line 3,\nvalue={'x' * 5000}\x00\x1b\u2028\ud800: correct it"))
    assert message.startswith("a.csv: line 3, value=xxx") and message.endswith("\\x00\\x1b\\u2028\\ud800: correct it")
    assert " … " in message and len(message) <= errors.LONGEST and message.isprintable()
    again = pickle.loads(pickle.dumps(DataError(message)))
    assert str(again) == message and type(again) is DataError
    assert str(DataError("é, ‘ß’ … 10 %")) == "é, ‘ß’ … 10 %"


def test_nearest_takes_any_iterable_once() -> None:
    assert nearest("b", (x for x in ("bb", "zz"))) == "; did you mean 'bb'?"
    assert nearest("q", (str(x) for x in (2, 1))) == "; known: 1, 2"


def test_lookup_finds_or_refuses_in_one_line() -> None:
    registry = {"lse": 1, "mean": 2}
    assert lookup("pooling", "lse", registry) == 1
    with pytest.raises(ConfigError, match=r"^unknown pooling 'lsee'; did you mean 'lse'\?$") as caught:
        lookup("pooling", "lsee", registry)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    with pytest.raises(DataError, match=r"^unknown column 'x'; known: lse, mean$"):
        lookup("column", "x", registry, DataError)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ('could not parse `"a hazy patch` as dtype\nmore', "could not parse …"),
        ("Unexpected symbol 'hazy' at 12", "Unexpected symbol …"),
        ("empty CSV", "empty CSV"),
        ("", "ValueError"),
    ],
)
def test_what_an_error_quotes_is_cut_off(message: str, wanted: str) -> None:
    assert wordless(ValueError(message)) == wanted

"""One label per observation out of several statements, as the CheXpert labeler does it (Irvin et al., AAAI 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.text.triples import Triple


def aggregate(
    triples: Iterable[Triple], *, other_abnormal: bool = False, normal: bool = False
) -> dict[str, int | None]:
    """13 observations and ``No Finding`` -> 1, 0, -1 (uncertain), None (not mentioned).

    Of several statements on an observation a positive one counts, else an uncertain one. Nothing is inferred for a
    parent. ``No Finding`` is 1 or None: 1 where no observation but ``Support Devices`` is positive or uncertain, no
    other disease is mentioned (``other_abnormal``), and something is said at all (``normal``: the chest is normal).
    """
    said: dict[str, set[str]] = {}
    for triple in triples:
        said.setdefault(triple.finding, set()).add(triple.polarity)
    out: dict[str, int | None] = {name: label_of(said.get(name, ())) for name in OBSERVATIONS}
    out[NO_FINDING] = no_finding(out, other_abnormal=other_abnormal, normal=normal)
    return out


def label_of(polarities: Iterable[str]) -> int | None:
    """The label of an observation's statements."""
    told = set(polarities)
    return 1 if "positive" in told else -1 if "uncertain" in told else 0 if told else None


def no_finding(labels: Mapping[str, int | None], *, other_abnormal: bool = False, normal: bool = False) -> int | None:
    """``No Finding`` for the labels of the 13 observations."""
    abnormal = other_abnormal or any(labels[n] in (1, -1) for n in OBSERVATIONS if n != "Support Devices")
    told = normal or any(labels[n] is not None for n in OBSERVATIONS)
    return 1 if told and not abnormal else None

"""Sentences without what they say of earlier films, which no single image shows (data format reference §9.5).

"Compared to ___, the left effusion has increased" becomes "The left effusion". What the sentence states must survive:
where the labeler would read the shorter one otherwise ("No new consolidation", "The edema has resolved"), nothing is
taken out; where the shorter one states nothing ("The heart is stable"), nothing is left.
"""

from __future__ import annotations

import re

from wsrpn_vl.text.labeler import label_of
from wsrpn_vl.text.labeler.reading import read_sentence
from wsrpn_vl.text.sentences import clean, plain, split_sentences

_FILM = r"(?:stud(?:y|ies)|exam(?:ination)?s?|films?|radiographs?|images?|imaging|ct|x-?rays?|priors?)"
_OLD = r"(?:prior|previous|earlier|preceding|last|recent|older?|comparison|outside)"
_CLAUSE_ENDS = r"(?=\s*(?:[,;.)]|$|and\b|but\b|which\b|with\b))"
_EARLIER = (  # not the earlier operation of "consistent with prior CABG"
    rf"(?:(?:the |an? |most |this |multiple |several )*(?:(?:{_OLD} )+(?:\w+ ){{0,2}}?{_FILM}|{_FILM} (?:of|from|dated)"
    rf"|(?:{_OLD}|{_FILM}){_CLAUSE_ENDS})|_)"
)
_TAIL = r"(?:(?! and\b| but\b| with\b| which\b)[^,;.])*"
_FEW = r"(?:\w+ ){0,3}?"
_CHANGE = (
    r"(?:change|increase|decrease|improvement|worsening|progression|enlargement|reduction|growth|development|appearance"
    r"|placement|insertion)"
)
_STATES = (
    r"unchanged|stable|changed|increased|decreased|improved|worsened|progressed|enlarging|similar|larger|smaller|better"
    r"|worse|new|(?:more|less) (?:conspicuous|prominent|extensive|severe|pronounced|evident|apparent|marked)"
)
_CHANGED = (
    rf"(?:\w+ly |somewhat |also |now |much |in the interval |not |any |a bit )*(?:{_STATES})"
    r"(?: in (?:size|extent|appearance|severity|position|volume|amount|the interval))?"
)
_GONE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "Compared to the film of ___, ..."; "..., as compared to ___"
        r"^(?:as |when |in |by |on )?(?:compared|comparison|relative|reference)\b[^,;:.]*[,;:]\s*",
        rf"^(?:since|from)\s+{_EARLIER}[^,;:.]*,\s*",
        r"^in the (?:interval|interim|meantime)\s*,?\s*",
        r",?\s*\(?\b(?:as |when )?(?:in comparison|compared|relative|in relation) (?:to|with)\b[^,;.)]*\)?",
        rf",?\s*\b(?:since|than|from|to|on|with|in|at) {_EARLIER}{_TAIL}",
        r",?\s*\b(?:as|than) (?:before|previously|seen (?:before|previously))\b",
        # "No change in the effusion"; "There has been interval increase in the effusion"
        rf"^{_FEW}(?:no|little|without) {_FEW}{_CHANGE} (?:in|of) (?:the )?(?:appearance of )?",
        rf"^there (?:is|are|was|has been|have been) (?:an? )?{_FEW}{_CHANGE} (?:in|of) (?:the )?",
        rf"^{_FEW}interval {_FEW}{_CHANGE} (?:in|of) (?:the )?",
        rf",?\s*\bwithout {_FEW}{_CHANGE}(?=\s*(?:[,;.]|$))",
        # "Again seen is an effusion"; "is again seen"
        r"^(?:again|still|re)[ -]?(?:seen|noted|demonstrated|identified|visuali[sz]ed|shown)\s*(?:is|are)?\s*,?\s*",
        r",?\s*\b(?:(?:is|are) )?(?:again|once more|re-?)[ -]?(?:seen|noted|demonstrated|identified|shown)\b",
        r"\b(?:previously|already) (?:seen|noted|described|identified|demonstrated|known|reported)\s+",
        r"\b(?:again|once more)\b\s*",
        # "has increased in size"; "is unchanged"; "small and stable"
        rf",?\s*\b(?:but |and |which |that )?(?:is|are|was|were|has(?: been)?|have(?: been)?|remains?|appears?)"
        rf" {_CHANGED}(?: (?:and|or|but) {_CHANGED})?(?=\s*(?:[,;.]|and\b|with\b|but\b|$))",
        rf"(?:,|\s+and|\s+but)\s+{_CHANGED}(?=\s*(?:[,;.]|$))",
        r"\s+(?:stable|unchanged|redemonstrated)(?=\s*(?:[,;.]|$))",
        # "stable small effusion"
        r"\b(?:(?:\w+ly )?(?:unchanged|stable|persist(?:ent|ing)|new|newly|improv(?:ed|ing)|worsen(?:ed|ing))"
        r"|interval|residual|ongoing|known)(?: (?:and|or|but|to) (?=stable|improv|worsen|unchanged))?\s+(?=\w)",
        r",?\s*\b(?:today|currently|now|at this time|this morning|yesterday)\b",
    )
)
_DANGLING = re.compile(r"\b(?:and|but|with|which|is|are|has|have|in|of|the|than)\s*(?=[.,;]*$)", re.IGNORECASE)
_A, _AN = re.compile(r"\ban(?= [bcdfgj-np-tv-z])"), re.compile(r"\ba(?= [aeio])")  # once a word between is gone
_COMPARISON = re.compile(
    rf"\b(?:compar|since|than|previous|prior|before|again|still|interval|interim|{_STATES}|{_CHANGE}|improv|worsen"
    r"|persist|residual|ongoing|known|today|current|now|this|yesterday|from|already|re-?demonstrated)",
    re.IGNORECASE,
)


def finding_sentences(text: str) -> str:
    """The sentences of ``text`` that state a finding, its absence, or a normal chest; without comparisons, once each.

    text: what :func:`~wsrpn_vl.text.sentences.clean` returns.
    """
    kept = []
    for sentence in split_sentences(text):
        said = read_sentence(plain(sentence))
        if said.triples or said.other or said.normal:
            kept.append(without_comparison(sentence))
    return clean(" ".join(filter(None, kept)))


def without_comparison(sentence: str) -> str:
    """``sentence`` without comparisons, see the top of this file; "" if nothing else is said. Polarities stay."""
    if not _COMPARISON.search(sentence):
        return sentence
    short = sentence.rstrip(" .")
    for pattern in _GONE:
        short = pattern.sub("", short)
    while (bare := _DANGLING.sub("", short).rstrip(" ,;:")) != short:
        short = bare
    short = _AN.sub("an", _A.sub("a", " ".join(short.split()).lstrip(" ,;:")))
    said, left = _labels(sentence), _labels(short)
    if not short or (said and not left):
        return ""
    if said != left:
        return sentence
    return f"{short[0].upper()}{short[1:]}."


def _labels(sentence: str) -> dict[str, int | None]:
    said: dict[str, set[str]] = {}
    for triple in read_sentence(plain(sentence)).triples:
        said.setdefault(triple.finding, set()).add(triple.polarity)
    return {name: label_of(polarities) for name, polarities in said.items()}

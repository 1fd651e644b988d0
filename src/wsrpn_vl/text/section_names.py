"""Section headers of MIMIC-CXR reports and the sections they stand for; studies whose reports need a hand.

Tables only; names, misspellings and study ids as in the corpus's own parser (MIT-LCP/mimic-cxr, txt/section_parser.py,
commit 3190146).
"""

from __future__ import annotations

_SYNONYMS = {
    "impression": (
        "impression, conclusion, findings and impression, findings/impression, findings/ impression, ndication, "
        "impresson, imprression, imoression, impressoin, imprssion, impresion, imperssion, mpression, impession"
    ),
    "findings": ("findings, finding, findins, findindgs, findgings, findngs, findnings, finidngs, reference findings"),
    "comparison": (
        "comparison, comparisons, reference exam, comparison exam, comparison film, comparision, comparsion, "
        "comparrison, comparisions"
    ),
    "indication": "indication, reason for examination, reason for exam, clinical indication, idication",
    "history": "history, clinical history, clinical information, patient history, pfi",
    "examination": "examination, exam, type of examination",
    "technique": "technique",
    "notification": "notification",
    "recommendations": "recommendations, recommendation, recommendation(s)",
    "addendum": "addendum",
    "wet read": "wet read, wetread",
    "date": "date",
    "comment": "comment",
}
NAMES: dict[str, str] = {name: kind for kind, names in _SYNONYMS.items() for name in names.split(", ")}
NAMES["chest, two views"] = "findings"
CONTAINED = ("impression", "findings", "history", "comparison", "addendum")  # else the first that the header contains
VIEWS = (  # else findings: a header that names the films
    *("chest", "portable", "pa and lateral", "lateral and pa", "ap and lateral", "lateral and ap", "frontal and"),
    *("two views", "frontal view", "pa view", "ap view", "one view", "lateral view", "bone window", "frontal upright"),
    *("frontal semi-upright", "ribs", "pa and lat"),
)
# Headers of other reports (CheXpert Plus, Open-I, clinics' own), which the parser of MIMIC-CXR does not know.
ANY_NAMES: dict[str, str] = {
    **NAMES,
    **dict.fromkeys(("clinical data", "clinical statement", "clinical details", "narrative"), "history"),
    **dict.fromkeys(("indications", "reason", "reason for study", "clinical question"), "indication"),
    **dict.fromkeys(("procedure", "study", "exam type", "accession number"), "examination"),
    **dict.fromkeys(("procedure comments", "views", "number of views"), "technique"),
    **dict.fromkeys(("impressions", "opinion", "conclusions", "interpretation"), "impression"),
    **dict.fromkeys(("report", "description", "discussion"), "findings"),
    "summary": "summary",  # CheXpert Plus: a code of urgency
    "end of impression": "end of impression",
}

# Studies where the labels' text is a section of another name, a span of characters, or not there at all.
ODD_SECTION: dict[int, str] = {
    study: section
    for section, studies in {
        "recommendations": (50913680, 59768032, 59067458, 59087630, 58157373, 56482935, 58375018),
        "examination": (59363654, 53356173, 50743547, 59215320, 55157853),
        "technique": (59279892, 53202765, 50808053),
        "indication": (57936451, 50058765, 51966317, 55124749, 54365831, 54654948),
        "note": (56451190,),
        "history": (51491012,),
    }.items()
    for study in studies
}
SPANS: dict[int, tuple[int, int]] = {
    50525523: (201, 349), 57564132: (233, 554), 59982525: (313, 717), 53488209: (149, 475), 54875119: (234, 988),
    50196495: (59, 399), 56579911: (59, 218), 52648681: (292, 631), 59889364: (172, 453), 53514462: (73, 377),
    59505494: (59, 450), 53182247: (59, 412), 51410602: (47, 320), 56412866: (522, 822), 54986978: (59, 306),
    59003148: (262, 505), 57150433: (61, 394), 56760320: (219, 457), 59562049: (158, 348), 52674888: (145, 296),
    55258338: (192, 568), 59330497: (140, 655), 52119491: (179, 454),
}  # fmt: skip
UNUSABLE = frozenset(
    (58235663, 50798377, 54168089, 53071062, 56724958, 54231141, 53607029, 52035334)
)  # no findings in the whole report

"""Reports against labels, read by an independent, simple-minded reader of sentences."""

from __future__ import annotations

import re
from functools import lru_cache

from wsrpn_vl.data.phantom.study import PhantomStudy, simulate
from wsrpn_vl.labels import OBSERVATIONS

WORDS = {
    "Enlarged Cardiomediastinum": r"widen|cardiomediastinal",
    "Cardiomegaly": r"cardiomegaly|cardiac silhouette|heart",
    "Lung Opacity": r"opacit|opacif|lungs",
    "Lung Lesion": r"nodule|mass",
    "Edema": r"edema",
    "Consolidation": r"consolidat",
    "Pneumonia": r"pneumonia",
    "Atelectasis": r"atelecta",
    "Pneumothorax": r"pneumothorax",
    "Pleural Effusion": r"effusion",
    "Pleural Other": r"thickening|plaque",
    "Fracture": r"fracture",
    "Support Devices": r"tube|catheter|pacemaker|PICC|wires",
}
DENIAL = r"\b(no|not|normal|unremarkable|clear|intact|limits)\b"


@lru_cache(maxsize=1)
def studies() -> tuple[PhantomStudy, ...]:
    forced = [simulate(3, p, 64, labels={name: 1}) for p, name in enumerate(OBSERVATIONS)]
    return (*forced, *(simulate(3, patient, 64) for patient in range(150)))


def sentences(report: str) -> list[str]:
    body = report.split("FINDINGS:")[1].replace("IMPRESSION:", " ")
    return [s for s in re.split(r"(?<=[a-z])\.\s+|(?<=[a-z])\.$|\d\.\s", " ".join(body.split())) if s.strip()]


def test_every_positive_finding_is_stated() -> None:
    for study in studies():
        stated = [s for s in sentences(study.report) if not re.search(DENIAL, s, re.I)]
        for name, value in study.labels.items():
            if value:
                assert any(re.search(WORDS[name], s, re.I) for s in stated), (name, study.report)


def test_no_sentence_denies_what_is_there_or_states_what_is_not() -> None:
    for study in studies():
        for sentence in sentences(study.report):
            denied = re.search(DENIAL, sentence, re.I)
            for name, pattern in WORDS.items():
                if re.search(pattern, sentence, re.I):
                    if denied:
                        assert not study.labels[name], (name, sentence)
                    elif name not in ("Lung Opacity", "Cardiomegaly", "Enlarged Cardiomediastinum"):
                        assert study.labels[name], (name, sentence)


def test_triples_agree_with_labels_and_regions() -> None:
    for study in studies():
        positive = [t for t in study.triples if t["polarity"] == "positive"]
        assert {t["finding"] for t in positive} == {n for n, v in study.labels.items() if v}
        assert len(positive) == len(study.boxes)
        for triple in study.triples:
            assert set(triple) == {"finding", "location", "modifiers", "polarity"}
            if triple["polarity"] == "negative":
                assert not study.labels[triple["finding"]]
            else:
                assert triple["location"]


def test_laterality_of_words_is_that_of_the_picture() -> None:
    """The patient's right is at the viewer's left."""
    checked = 0
    for patient in range(30):
        study = simulate(4, patient, 64, labels={"Consolidation": 1})
        for region in study.regions["Consolidation"]:
            x1, _, x2, _ = region.box
            left_half = (x1 + x2) / 2 < 32
            assert region.location.startswith("right") == left_half
            checked += 1
    assert checked >= 30


def test_a_clear_chest_is_called_so_and_reports_vary() -> None:
    clear = [simulate(3, patient, 64, labels={}) for patient in range(40)]
    for study in clear:
        assert re.search(r"IMPRESSION: (No|Normal)", study.report)
    assert len({s.report.split("FINDINGS:")[1] for s in clear}) > 20


def test_sections_and_line_width() -> None:
    for study in studies():
        titles = re.findall(r"^([A-Z]+):", study.report, re.M)
        assert titles == ["EXAMINATION", "INDICATION", "COMPARISON", "FINDINGS", "IMPRESSION"]
        assert max(map(len, study.report.splitlines())) <= 80
        assert "{" not in study.report and " ," not in study.report and " ." not in study.report

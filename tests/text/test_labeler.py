"""The report labeler: mentions, denials, doubts, other disease, and the rules of the CheXpert labeler."""

from __future__ import annotations

import pytest

from fixtures.reading import labels
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.text.labeler import aggregate, label_of, label_reports, read_report, read_statements
from wsrpn_vl.text.triples import Triple

EC, CM, LO, LL, ED, CO, PN, AT, PTX, PE, PO, FX, SD = OBSERVATIONS


TRAPS: list[tuple[str, dict[str, int]]] = [
    # lists and the reach of a denial
    ("No pneumothorax, effusion or edema.", {PTX: 0, PE: 0, ED: 0}),
    ("No evidence of pneumothorax or pleural effusion.", {PTX: 0, PE: 0}),
    ("No focal consolidation, large effusion, or pneumothorax is identified.", {CO: 0, PE: 0, PTX: 0}),
    ("Neither pneumothorax nor effusion is present.", {PTX: 0, PE: 0}),
    ("Negative for pneumothorax. Lungs are free of infiltrates and consolidation.", {PTX: 0, LO: 0, CO: 0}),
    ("No pneumothorax. Effusion is present.", {PTX: 0, PE: 1}),
    ("No pneumothorax, but a small left effusion.", {PTX: 0, PE: 1}),
    ("No pneumothorax; small effusion.", {PTX: 0, PE: 1}),
    ("No consolidation, however there is atelectasis.", {CO: 0, AT: 1}),
    ("No effusion although atelectasis is seen.", {PE: 0, AT: 1}),
    ("No acute disease except pneumonia.", {PN: 1}),
    ("The lungs are clear except for a nodule.", {LO: 0, LL: 1}),
    ("No pneumothorax, mild cardiomegaly.", {PTX: 0, CM: 1}),
    ("No pneumothorax and small left effusion.", {PTX: 0, PE: 1}),
    ("No effusion, and the heart is enlarged.", {PE: 0, CM: 1}),
    ("Atelectasis without effusion.", {AT: 1, PE: 0}),
    ("Opacity without effusion may represent pneumonia.", {LO: 1, PE: 0, PN: -1}),
    ("There is no opacity to suggest pneumonia.", {LO: 0, PN: 0}),
    ("Pneumothorax is not seen. Effusion is absent. The edema has resolved.", {PTX: 0, PE: 0, ED: 0}),
    ("Resolved pneumothorax. No longer seen is the effusion.", {PTX: 0, PE: 0}),
    # denials that are none
    ("Not without effusion.", {PE: 1}),
    ("No change in effusion.", {PE: 1}),
    ("No significant interval change in the left pleural effusion.", {PE: 1}),
    ("The effusion has not changed.", {PE: 1}),
    ("No increase in the effusion.", {PE: 1}),
    ("Mild cardiomegaly is unchanged.", {CM: 1}),
    # doubts
    ("No new consolidation.", {CO: -1}),
    ("Cannot exclude pneumonia.", {PN: -1}),
    ("Pneumonia cannot be excluded.", {PN: -1}),
    ("Pneumonia is not entirely excluded.", {PN: -1}),
    ("Pneumonia is difficult to exclude.", {PN: -1}),
    ("No evidence to rule out pneumonia.", {PN: -1}),
    ("Possible pneumonia.", {PN: -1}),
    ("Pneumonia possible.", {PN: -1}),
    ("Pneumonia is suspected. Edema would be a consideration.", {PN: -1, ED: -1}),
    ("Left opacity may represent atelectasis or pneumonia.", {LO: 1, AT: -1, PN: -1}),
    ("Opacity concerning for pneumonia, less likely atelectasis.", {LO: 1, PN: -1, AT: -1}),
    ("Atelectasis versus consolidation.", {AT: -1, CO: -1}),
    ("Atelectasis and/or consolidation.", {AT: -1, CO: -1}),
    ("Differential includes atelectasis and mild edema.", {AT: -1, ED: -1}),
    ("Blunting of the left costophrenic angle.", {PE: -1}),
    ("Pulmonary vascular congestion.", {ED: -1}),
    # what was removed, is past, or is asked for
    ("Interval removal of the right line and left chest tube.", {SD: 0}),
    ("Previously seen left effusion has resolved.", {PE: 0}),
    ("History of pneumonia. If there is concern for pneumonia, CT may help.", {}),
    ("Recommend CT to evaluate for nodules.", {}),
    ("Please note that fractures may not be demonstrated.", {}),
    ("Overlap could obscure a small nodule.", {}),
    # the heart and the mediastinum
    ("Heart size normal.", {CM: 0}),
    ("The heart is not enlarged.", {CM: 0}),
    ("Heart size is at the upper limits of normal.", {CM: 0}),
    ("Borderline heart size.", {CM: -1}),
    ("The heart is normal to mildly enlarged.", {CM: -1}),
    ("The heart is unchanged. Stable mediastinal contours.", {CM: -1, EC: -1}),
    ("The heart is enlarged and the lungs are clear.", {CM: 1, LO: 0}),
    ("Normal heart size and mediastinal contours.", {CM: 0, EC: 0}),
    ("Prominent hila, heart size normal.", {CM: 0}),
    ("Enlarged heart, lungs clear, mediastinum unremarkable.", {CM: 1, LO: 0, EC: 0}),
    ("The mediastinum is widened.", {EC: 1}),
    ("There is no mediastinal widening.", {EC: 0}),
    ("Large effusion obscures the heart border.", {PE: 1}),
    ("Tip of the catheter over the right atrium.", {SD: 1}),
    ("Leads project over the heart.", {SD: 1}),
    # words that sound like a finding
    ("There is a pericardial effusion.", {}),
    ("No pleural or pericardial effusion.", {PE: 0}),
    ("Calcified nodule in the left apex. Massive effusion.", {PE: 1}),
    ("Left apical pleural scar.", {PO: 1}),
    ("Collapse of the vertebral body. Pleural line. Endplate changes.", {}),
    ("Fracture of the lead.", {SD: 1}),
    ("No acute osseous abnormality.", {FX: 0}),
    ("Lytic osseous lesion.", {}),
    # de-identified words glue nothing together; spelling
    ("Right ___ effusion since ___.", {PE: 1}),
    ("Nodule___mass, 3.5 cm.Effusion.", {LL: 1, PE: 1}),
    ("AIR-SPACE DISEASE, LEFT-SIDED EFFUSION/ATELECTASIS", {LO: 1, PE: -1, AT: -1}),
    ("1. Edema 2. No effusion", {ED: 1, PE: 0}),
    ("Small\nleft\neffusion", {PE: 1}),
]


@pytest.mark.parametrize(("text", "said"), TRAPS, ids=[text for text, _ in TRAPS])
def test_traps(text: str, said: dict[str, int]) -> None:
    assert labels(text) == said


SYNONYMS = {
    CM: ("enlarged cardiac silhouette", "cardiac enlargement", "heart is enlarged", "enlargement of the heart"),
    PTX: ("ptx", "hydropneumothorax", "pneumothoraces"),
    LO: ("airspace process", "bibasilar opacities", "infiltrate", "increased interstitial markings"),
    ED: ("interstitial edema", "volume overload", "CHF"),
    PE: ("layering fluid", "pleural fluid", "hemothorax"),
    SD: (
        "port-a-cath", "ET tube", "endotracheal tube", "NG tube", "enteric tube", "PICC", "sternotomy wires",
        "pacemaker leads", "right line", "defibrillator", "stent", "tip in the SVC",
    ),
    PN: ("infectious process", "bronchopneumonia", "infection"),
    AT: ("lobar collapse", "atelectatic changes"),
    PO: ("pleural plaque", "fibrothorax", "apical cap", "biapical pleural thickening"),
    LL: ("mass", "nodular opacity", "metastases", "cavitary lesion", "cavity"),
    FX: ("old rib fractures", "fractured clavicle"),
    EC: ("widened mediastinum", "enlarged cardiomediastinal silhouette"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "words"), [(n, w) for n, all_words in SYNONYMS.items() for w in all_words])
def test_synonyms(name: str, words: str) -> None:
    assert labels(f"There is {words}.")[name] == 1
    assert labels(f"No {words}.").get(name, 0) in (0, -1)  # a heart that is not enlarged, say


def test_only_describing_sections_are_read() -> None:
    report = (
        " FINAL REPORT\n INDICATION:  Fever, rule out pneumonia, history of edema.\n \n COMPARISON:  Effusion.\n \n"
        " TECHNIQUE:  Tube at 1 m.\n \n FINDINGS: \n \n Small effusion.\n \n IMPRESSION: \n \n 1.  No\n pneumothorax.\n"
    )
    assert labels(report) == {PE: 1, PTX: 0}
    assert labels(report.split(" FINDINGS")[0]) == {}


def triple(name: str, polarity: str) -> Triple:
    return Triple(name, polarity=polarity)


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ((), None),
        (("negative",), 0),
        (("uncertain", "negative"), -1),
        (("negative", "uncertain", "positive"), 1),
        (("positive", "negative"), 1),
    ],
)
def test_several_statements_make_one_label(said: tuple[str, ...], label: int | None) -> None:
    assert label_of(said) == aggregate(triple(PE, polarity) for polarity in said)[PE] == label


def test_heart_failure_leaves_the_heart_in_doubt() -> None:
    assert labels("Congestive heart failure.") == {ED: 1, CM: -1}
    assert labels("Possible CHF.") == {ED: -1, CM: -1}
    assert labels("No heart failure.") == {ED: 0}


def test_nothing_is_inferred_for_a_parent() -> None:
    assert labels("Pneumonia. Cardiomegaly.") == {PN: 1, CM: 1}


def test_no_finding() -> None:
    assert read_report("No acute cardiopulmonary process.").labels[NO_FINDING] == 1
    assert read_report("Heart size normal. No effusion.").labels[NO_FINDING] == 1
    assert read_report("PICC line in place. Lungs are clear.").labels[NO_FINDING] == 1  # devices do not count
    for text in ("Small effusion.", "Possible edema.", "Emphysema.", "Lungs are clear. Hiatal hernia.", "Scoliosis."):
        assert read_report(text).labels[NO_FINDING] is None
    assert read_report("Lungs are clear. No emphysema.").labels[NO_FINDING] == 1
    told = read_report("Calcified granuloma.")
    assert told.other_abnormal and not told.triples and not told.vague
    assert aggregate([triple(PE, "negative")], other_abnormal=True)[NO_FINDING] is None
    assert aggregate([triple(SD, "positive")])[NO_FINDING] == 1


@pytest.mark.parametrize("text", ["", " \n ", "___", "As above.", "Stable examination.", "INDICATION: pneumonia?"])
def test_words_that_say_nothing_leave_all_blank(text: str) -> None:
    told = read_report(text)
    assert told.vague and not any(value is not None for value in told.labels.values())
    assert aggregate([], normal=False)[NO_FINDING] is None


def test_statements_keep_their_order_and_are_told_once() -> None:
    told = read_statements("No effusion. Small nodule. No effusion. Small nodule.")
    assert [(t.finding, t.polarity) for t in told] == [(PE, "negative"), (LL, "positive")]


def test_processes_give_what_one_gives() -> None:
    texts = [f"Nodule of {i} mm. No effusion." for i in range(600)]
    here = label_reports(texts)
    assert label_reports(texts, workers=2) == here
    assert [reading.labels[LL] for reading in here] == [1] * 600
    assert label_reports([]) == []

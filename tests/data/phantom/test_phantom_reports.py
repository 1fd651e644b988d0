"""Reports against regions, read by an independent, simple-minded reader of sentences."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest

from fixtures.report_reader import WORDS, polarity_of, sentences
from wsrpn_vl.data.phantom import phrases
from wsrpn_vl.data.phantom.prior import close_hierarchy
from wsrpn_vl.data.phantom.report_form import lay_out
from wsrpn_vl.data.phantom.report_groups import plural_of
from wsrpn_vl.data.phantom.reports import Report, write_report
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.data.phantom.study import simulate
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.sections import describing_text

HEADERS = r"EXAM|INDICATION|HISTORY|TECHNIQUE|COMPARISON|INFORMATION|REPORT|year|___ ?[MF]\b|Frontal view|view of the"
MASK = np.ones((2, 2), bool)


@dataclass(frozen=True)
class Patient:
    male: bool = True
    age: int = 60
    supine: bool = False


def region(location: str, *modifiers: str, kind: str = "", side: str | None = None) -> Region:
    severity = {"mild": "mild", "small": "mild", "moderate": "moderate", "severe": "severe", "large": "severe"}
    side = next((s for s in ("right", "left") if location.startswith(s)), "") if side is None else side
    return Region(MASK, location, modifiers, side, severity.get(modifiers[0], "") if modifiers else "", kind)


def instances(rng: np.random.Generator) -> dict[str, list[Region]]:
    """One draw of every observation, as the simulator gives them."""
    side, other = ("right", "left") if rng.random() < 0.5 else ("left", "right")
    degree = str(rng.choice(["mild", "moderate", "severe"]))
    size, second = (str(rng.choice(["small", "moderate", "large"])) for _ in range(2))
    number = str(rng.choice(["mass", "nodule"]))
    ribs = ["fourth", "fifth", "sixth"][: int(rng.integers(1, 4))]
    lobar = rng.random() < 0.5
    collapse = ("lobar", "with volume loss") if lobar else ("linear",)
    pleura = [
        ("apical cap", f"{side} apex", "smooth"),
        ("pleural plaque", f"{side} hemidiaphragm", "calcified"),
        ("pleural thickening", f"{side} lateral chest wall", "smooth"),
    ][int(rng.integers(3))]
    devices = [
        region("trachea", "tip 3.2 cm above the carina", kind="endotracheal tube"),
        region("superior vena cava", f"{side} internal jugular", kind="central venous catheter", side=side),
        region("left chest wall", "leads in the right atrium and right ventricle", kind="pacemaker"),
        region("stomach", "tip below the diaphragm", kind="enteric tube"),
        region(f"{side} pleural space", "tip directed towards the apex", kind="chest tube"),
        region("midline sternum", "well aligned", "with surgical clips", kind="sternotomy wires"),
        region("esophagus", "tip in the distal esophagus", kind="enteric tube"),
        region("superior vena cava", f"{side} chest wall", kind="port catheter", side=side),
        region(f"{other} pulmonary artery", f"{side} internal jugular", kind="Swan-Ganz catheter", side=side),
    ]
    air = (size, "with deep sulcus sign", "under tension") if rng.random() < 0.2 else (size,)
    fluid = [region(f"{s} costophrenic angle", z) for s, z in (("right", size), ("left", second))]
    if rng.random() < 0.4:
        fluid = [
            region("right costophrenic angle", "small", "with blunting of the angle"),
            region("left hemithorax", second, "layering"),
        ]
    airspace = [region("right middle lobe", "patchy"), region("lingula", "segmental", side="left")]
    if rng.random() < 0.3:
        airspace = [region("bilateral lungs", "patchy", "multifocal", side="bilateral")]
    found = {
        "Enlarged Cardiomediastinum": [region("upper mediastinum", degree, kind="wide mediastinum")],
        "Cardiomegaly": [region("cardiac silhouette", degree, kind="enlarged heart")],
        "Lung Opacity": [region(f"{s} mid lung zone", degree, "hazy", kind="opacity") for s in (side, other)],
        "Lung Lesion": [region(f"{side} upper lung zone", "2.8 cm", "round", kind=number)],
        "Edema": [region(f"{s} perihilar region", degree, "interstitial", kind="edema") for s in ("right", "left")],
        "Consolidation": [region(f"{side} lower lobe", "dense", "with air bronchograms", kind="consolidation")],
        "Pneumonia": airspace,
        "Atelectasis": [
            region(
                f"{s} lower lobe" if lobar else f"{s} base",
                *collapse,
                kind="lobar collapse" if lobar else "atelectasis",
            )
            for s in (side, other)
        ],
        "Pneumothorax": [region(f"{side} apical pleural space", *air, kind="pneumothorax")],
        "Pleural Effusion": fluid,
        "Pleural Other": [region(pleura[1], pleura[2], kind=pleura[0])],
        "Fracture": [region(f"{side} {rib} posterior rib", "acute", "displaced", kind="rib fracture") for rib in ribs],
        "Support Devices": [
            devices[int(i)] for i in rng.choice(len(devices), size=int(rng.integers(1, 4)), replace=False)
        ],
    }
    return {name: some if rng.random() < 0.5 or name == "Edema" else some[:1] for name, some in found.items()}


def regions_of(labels: dict[str, int], rng: np.random.Generator) -> dict[str, list[Region]]:
    labels, found = close_hierarchy(labels), instances(rng)
    children = [n for n in ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis") if labels[n]]
    if children:
        found["Lung Opacity"] = [region(r.location, side=r.side, kind="opacity") for n in children for r in found[n]]
    return {name: found[name] for name in OBSERVATIONS if labels[name]}


def draw(n: int, **how: object) -> list[tuple[dict[str, list[Region]], Report]]:
    out = []
    for i in range(n):
        rng = np.random.default_rng([7, i])
        labels = {name: int(rng.random() < 0.25 and i % 5 > 0) for name in OBSERVATIONS}
        regions = regions_of(labels, rng)
        given = {"repeat": i % 2 == 1, **how}
        out.append((regions, write_report(regions, Patient(i % 3 == 0), "AP" if i % 4 else "PA", rng, **given)))
    return out


@lru_cache(maxsize=1)
def certain() -> list[tuple[dict[str, list[Region]], Report]]:
    return draw(600, unmentioned=0.0, hedged=0.0)


@lru_cache(maxsize=1)
def doubtful() -> list[tuple[dict[str, list[Region]], Report]]:
    return draw(300, unmentioned=0.3, hedged=0.5)


def test_every_report_gives_its_describing_words_and_no_others() -> None:
    kinds = Counter()
    for _, report in (*certain(), *doubtful(), *draw(200, kind="vague"), *draw(50, kind="template")):
        text = describing_text(report.text)
        assert len(text) > 15 and not re.search(HEADERS, text), report.text
        lines = report.text.splitlines()
        assert max(map(len, lines)) <= 79 and report.text.isascii() and all(line.startswith(" ") for line in lines)
        assert "{" not in text and " ," not in text and " ." not in text and not re.search(r"\b(\w+) \1\b", text), text
        kinds[tuple(h for h in ("FINDINGS", "IMPRESSION") if f"\n {h}:" in report.text)] += 1
    assert min(kinds[k] for k in ((), ("FINDINGS",), ("IMPRESSION",), ("FINDINGS", "IMPRESSION"))) > 20


@pytest.mark.parametrize(("findings", "impression"), [("a", ""), ("", "b"), ("a", "b")])
def test_form_keeps_the_words_whatever_its_shape(findings: str, impression: str) -> None:
    told = {
        "a": ["The heart is enlarged and the lungs are clear of any focal abnormality whatsoever.", "No effusion."],
        "b": ["Enlarged heart."],
        "": [],
    }
    wanted = " ".join((*told[findings], *told[impression]))
    looks = set()
    for seed in range(150):
        text = lay_out(told[findings], told[impression], Patient(), "AP", np.random.default_rng(seed), repeat=True)
        assert describing_text(text).startswith(wanted)
        looks.add(re.sub(r"[^A-Z:\n]", "", text))
    assert len(looks) > 20


def test_positive_statements_are_the_findings_and_their_words_are_in_the_text() -> None:
    for regions, report in certain():
        text = describing_text(report.text)
        positive = [t for t in report.triples if t["polarity"] == "positive"]
        children = any(n in regions for n in ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis"))
        implied = {"Lung Opacity"} if children else set()
        assert set(regions) - implied <= {t["finding"] for t in positive} <= set(regions)
        for triple in report.triples:
            assert set(triple) == {"finding", "location", "modifiers", "polarity"}
            for words in (triple["location"], *triple["modifiers"]):
                assert words.lower() in text.lower(), (words, text)
        for triple in positive:
            known = {m for r in regions[triple["finding"]] for m in r.modifiers}
            kinds = phrases.KINDS.values()
            assert all(m in known or any(m in nouns for nouns, _ in kinds) for m in triple["modifiers"]), triple


def test_every_finding_is_stated_and_no_sentence_denies_what_is_there() -> None:
    for regions, report in certain():
        read = [(s, polarity_of(s)) for s in sentences(describing_text(report.text))]
        for name, pattern in WORDS.items():
            kinds = {polarity for s, polarity in read if re.search(pattern, s, re.I)}
            if name in regions:
                implied = name == "Lung Opacity" and not kinds
                assert implied or kinds >= {"positive"}, (name, report.text)
                if name not in ("Cardiomegaly", "Enlarged Cardiomediastinum", "Lung Opacity"):  # share words
                    assert kinds == {"positive"}, (name, report.text)
            elif name not in ("Cardiomegaly", "Enlarged Cardiomediastinum", "Lung Opacity", "Support Devices"):
                assert kinds <= {"negative"}, (name, report.text)


def test_negative_statements_are_true_and_their_finding_is_spoken_of() -> None:
    for regions, report in (*certain(), *doubtful()):
        for triple in report.triples:
            if triple["polarity"] == "negative":
                assert triple["finding"] not in regions
        if not regions:
            assert any(t["polarity"] == "negative" for t in report.triples)


def test_doubt_and_silence_spare_the_only_finding() -> None:
    counts = Counter()
    for regions, report in doubtful():
        main = {n for n in regions if n not in ("Support Devices", "Lung Opacity")}
        said = {p: {t["finding"] for t in report.triples if t["polarity"] == p} for p in ("positive", "uncertain")}
        assert not main or main & said["positive"]
        for name in main - said["positive"]:
            assert all(r.severity in ("", "mild") for r in regions[name])
        counts["silent"] += len(main - said["positive"] - said["uncertain"])
        counts["present"] += len(main & said["uncertain"])
        counts["absent"] += len(said["uncertain"] - set(regions))
        for sentence in sentences(describing_text(report.text)):
            for name in said["uncertain"] - {"Lung Opacity"}:
                if re.search(WORDS[name], sentence, re.I):
                    assert polarity_of(sentence) == "uncertain" or name == "Consolidation", sentence
    assert min(counts[k] for k in ("silent", "present", "absent")) > 10


def test_grammar() -> None:
    for _, report in (*certain(), *doubtful()):
        text = describing_text(report.text)
        assert not re.search(r"\b[Aa] (?:[aeio]|unc|8)|\b[Aa]n (?![aeio8]|NG|ET|unc|increas)", text), text
        for sentence in sentences(text):
            assert re.match(r"\s*(?:[A-Z]|\d|___)", sentence), sentence
            assert not re.search(r"^The bilateral [a-z ]+s (?:is|shows)\b|There is bilateral (?:\w+ )+s\b", sentence)
            assert not re.search(r"\ban? (?:\w+ )?bilateral\b|There are an? ", sentence)
    assert (plural_of("right apex"), plural_of("lung opacity"), plural_of("lower lobe")) == (
        "right apices",
        "lung opacities",
        "lower lobes",
    )


def test_sides_are_merged_and_ribs_are_listed() -> None:
    both = {"Consolidation": [region(f"{s} lower lobe", "dense") for s in ("right", "left")]}
    ribs = {"Fracture": [region(f"left {n} posterior rib", "acute") for n in ("fifth", "sixth")]}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (one, *_) = write_report(both, Patient(), "PA", rng, hedged=0).triples
        assert one["location"] in ("bilateral lower lobes", "bilateral lower lobe")
        (one, *_) = write_report(ribs, Patient(), "PA", rng, hedged=0).triples
        assert one["location"].startswith("left fifth and sixth posterior rib")


def test_there_are_many_wordings_of_each_finding() -> None:
    for name in OBSERVATIONS:
        templates = {*phrases.NOUNS[name], *phrases.CLAUSES[name]}
        assert len(templates) >= 12
        assert not any(re.fullmatch(rf"\W*{name}\W*", t.split("{tail}")[0], re.I) for t in templates)
        heard = set()
        for seed in range(150):
            rng = np.random.default_rng([seed, 1])
            found = {name: instances(np.random.default_rng(2))[name]}
            text = describing_text(write_report(found, Patient(), "PA", rng, hedged=0).text)
            heard |= {s for s in sentences(text) if re.search(WORDS[name], s, re.I) and polarity_of(s) == "positive"}
        assert len(heard) >= 20, name


def test_comparisons_are_made_only_where_there_is_something_to_compare_with() -> None:
    pattern = r"unchanged|interval|increased since|\bnew\b|prior|persistent|again|resolved"
    first = [describing_text(r.text) for _, r in draw(200, repeat=False)]
    assert not any(re.search(pattern, text, re.I) for text in first)
    later = [describing_text(r.text) for _, r in draw(200, repeat=True)]
    assert sum(bool(re.search(pattern, text, re.I)) for text in later) > 60


def test_a_vague_report_names_no_finding() -> None:
    reports = [report for _, report in draw(100, kind="vague")]
    for report in reports:
        assert report.triples == ()
        assert not any(re.search(p, describing_text(report.text), re.I) for p in WORDS.values()), report.text
    assert len({describing_text(r.text) for r in reports}) > 20


def test_a_template_depends_on_findings_and_sides_alone() -> None:
    kinds = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        found = {n: instances(rng)[n] for n in ("Cardiomegaly", "Edema")}
        found["Pleural Effusion"] = [region("right costophrenic angle", ("small", "large")[seed % 2])]
        before = rng.bit_generator.state
        report = write_report(
            found, Patient(seed % 2 == 0), ("PA", "AP")[seed % 2], rng, repeat=seed % 3 == 0, kind="template"
        )
        assert rng.bit_generator.state == before
        kinds.add((report.text, str(report.triples)))
    assert len(kinds) == 1
    assert "year" not in report.text and {t["finding"] for t in report.triples} == set(found)
    left = write_report({"Pleural Effusion": [region("left base")]}, Patient(), "PA", rng, kind="template")
    assert "on the left" in left.text and left.triples[0]["location"] == "left"
    assert all(t["polarity"] == "negative" for t in write_report({}, Patient(), "PA", rng, kind="template").triples)


def test_equal_chance_gives_equal_words_and_an_unknown_kind_is_named() -> None:
    assert [r for _, r in draw(20)] == [r for _, r in draw(20)]
    with pytest.raises(DataError, match="vague"):
        write_report({}, Patient(), "PA", np.random.default_rng(0), kind="vagué")


def test_an_unknown_kind_and_place_still_read_well() -> None:
    found = {
        "Support Devices": [region("right atrium", kind="port-a-cath")],
        "Pleural Other": [region("right fissure")],
    }
    for seed in range(30):
        report = write_report(found, Patient(), "PA", np.random.default_rng(seed), hedged=0)
        assert "port-a-cath" in describing_text(report.text) and "pleural thickening" in report.text.lower().replace(
            "\n ", " "
        )


def test_a_finding_without_a_place_or_with_an_odd_one_is_told() -> None:
    for name in OBSERVATIONS:
        for where, side in (("", ""), ("bilateral pleural spaces", "bilateral"), ("left nowhere at all", "left")):
            for seed in range(20):
                found = {name: [region(where, "mild", side=side)]}
                report = write_report(found, Patient(), "PA", np.random.default_rng(seed), hedged=0)
                assert re.search(WORDS[name] + "|device", describing_text(report.text), re.I)


def test_laterality_of_words_is_that_of_the_picture() -> None:
    """The patient's right is at the viewer's left."""
    checked = 0
    for patient in range(6):
        study = simulate(4, patient, 64, labels={"Consolidation": 1})
        for found in study.regions["Consolidation"]:
            x1, _, x2, _ = found.box
            left_half = (x1 + x2) / 2 < 32
            assert found.location.startswith("right") == left_half
            checked += 1
    assert checked >= 6

"""The words of reports: how each observation is stated. Tables only; ``reports.py`` fills them in.

Slots: {a}, {an} article of a countable finding, of {noun}; {adj} adjectives; {adv} the degree as an adverb; {s}, {y},
{x} endings of a plural; {where}, {in} (with its preposition), {at} (before a noun), {angle}, {on} places; {side}, and
{one} if right or left only; {ws}, {wis} verbs that agree with the place, {is}, {vs}, {es} with the noun; {tail} what
follows the noun; {size} a leading degree, {type} the other adjectives. A template whose slot has no value for the case
at hand, or that is :data:`frames.UNSUITED`, is not used. ``NOUNS``: noun phrases, which
stand in the frames of ``frames.py``; a leading "+" marks a plural one. ``CLAUSES``: whole sentences.
"""

from __future__ import annotations

NOUNS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        "{adj} widening of the {where}",
        "{a}{adv} widened {where}",
        "{adj} mediastinal widening",
        "{adj} enlargement of the cardiomediastinal silhouette",
        "{a}{adv} enlarged cardiomediastinal silhouette",
        "{adj} widening of the cardiomediastinal contour",
    ),
    "Cardiomegaly": (
        "{adj} cardiomegaly",
        "{adj} enlargement of the cardiac silhouette",
        "{adj} cardiac enlargement",
        "{a}{adv} enlarged cardiac silhouette",
        "{a}{adv} enlarged heart",
        "{adj} enlargement of the heart",
    ),
    "Lung Opacity": (
        "{a}{adj} opacit{y} {in}",
        "{adj} opacification of the {where}",
        "{a}{adj} area{s} of increased density {in}",
        "{adj} airspace opacity {in}",
        "{a}{adj} parenchymal opacit{y} {in}",
        "{a}{adj} {at} opacit{y}",
        "{a}{adj} opacit{y} projecting over the {where}",
    ),
    "Lung Lesion": (
        "{an}{adj} {noun} {in}",
        "{an}{adj} {noun} projecting over the {where}",
        "{an}{adj} {at} {noun}",
        "{an}{adj} {noun} within the {where}",
        "{an}{adj} {noun} overlying the {where}",
    ),
    "Edema": (
        "{adj} pulmonary edema",
        "{adj} edema {in}",
        "pulmonary vascular congestion with {adj} edema",
        "{adj} pulmonary edema with haziness of the {where}",
        "{adj} pulmonary edema, most conspicuous {in}",
        "{adj} edema centered {in}",
    ),
    "Consolidation": (
        "{adj} consolidation {in}{tail}",
        "{adj} consolidation of the {where}{tail}",
        "{adj} {at} consolidation{tail}",
        "{a}{adj} area{s} of consolidation {in}{tail}",
        "{adj} airspace consolidation {in}{tail}",
        "{a}{adj} focal consolidation{s} {in}{tail}",
        "{adj} consolidation involving the {where}{tail}",
    ),
    "Pneumonia": (
        "{adj} airspace disease {in}, consistent with pneumonia",
        "+{adj} infiltrates {in} compatible with pneumonia",
        "{at} pneumonia",
        "pneumonia {in}",
        "+{adj} opacities {in} consistent with pneumonia",
        "{adj} airspace opacification {in}, in keeping with pneumonia",
    ),
    "Atelectasis": (
        "{adj} {noun} {in}{tail}",
        "+{adj} atelectatic changes {in}{tail}",
        "{adj} {at} {noun}{tail}",
        "{adj} {noun} involving the {where}{tail}",
        "+areas of {adj} atelectasis {in}{tail}",
        "{adj} {noun} of the {where}{tail}",
    ),
    "Pneumothorax": (
        "{a}{adj} {side} pneumothora{x}{tail}",
        "{a}{adj} pneumothora{x} {in}{tail}",
        "{a}{adj} pneumothora{x} {on}{tail}",
        "{a}{adj} {one}-sided pneumothora{x}",
        "{a}{adj} {side} pneumothora{x} with a visible visceral pleural line",
        "pleural air {in}, in keeping with {a}{adj} pneumothora{x}{tail}",
    ),
    "Pleural Effusion": (
        "{a}{adj} {side} pleural effusion{s}{tail}",
        "{a}{adj} pleural effusion{s} {on}{tail}",
        "{a}{adj} pleural effusion{s} {in}{tail}",
        "{a}{adj} {one}-sided pleural effusion{s}",
        "a {size} amount of {type} {side} pleural fluid",
        "{a}{adj} {side} effusion{s}",
        "blunting of the {angle} from {a}{adj} pleural effusion{s}",
        "{a}{adj} pleural effusion{s} with blunting of the {angle}",
    ),
    "Pleural Other": (
        "{an}{adj} {noun} {in}",
        "{an}{adj} {side} {noun}",
        "{an}{adj} {one}-sided {noun}",
        "{an}{adj} {noun} {on}",
        "{an}{adj} {noun} involving the {where}",
        "{an}{adj} {noun} adjacent to the {where}",
    ),
    "Fracture": (
        "{a}{adj} fracture{s} of the {where}{tail}",
        "{a}{adj} fracture{s} involving the {where}{tail}",
        "{a}{adj} {at} fracture{s}{tail}",
        "{a}{adj} fracture{s} through the {where}{tail}",
        "{adj} cortical disruption of the {where}, in keeping with fracture",
        "{a}{adj} fracture deformit{y} of the {where}",
    ),
    "Support Devices": (
        "{an}{adj} {noun}{tail}",
        "{an}{adj} {noun} in place{tail}",
        "{an}{adj} {noun} in situ{tail}",
    ),
}

CLAUSES: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        "the {where} is {adv} widened.",
        "the cardiomediastinal silhouette is {adv} enlarged.",
        "the mediastinum appears {adv} widened.",
        "the cardiomediastinal contours are {adv} enlarged.",
        "there is {adv} increased mediastinal width.",
        "the mediastinal silhouette is {adv} widened.",
    ),
    "Cardiomegaly": (
        "the heart is {adv} enlarged.",
        "the cardiac silhouette is {adv} enlarged.",
        "heart size is {adv} increased.",
        "the heart size is {adv} enlarged.",
        "the cardiac silhouette appears {adv} enlarged.",
        "the transverse diameter of the heart is {adv} increased.",
        "the cardiac silhouette is {adv} enlarged, with a cardiothoracic ratio above one half.",
    ),
    "Lung Opacity": (
        "the {where} show{ws} {adj} opacification.",
        "{adj} opacity obscures part of the {where}.",
        "{a}{adj} opacit{y} {is} seen projecting over the {where}.",
        "aeration of the {where} is reduced by {adj} opacity.",
        "the {where} {wis} partly obscured by {a}{adj} opacit{y}.",
        "projecting over the {where} {is} {a}{adj} opacit{y}.",
    ),
    "Lung Lesion": (
        "projecting over the {where} {is} {an}{adj} {noun}.",
        "the {where} contain{ws} {an}{adj} {noun}.",
        "{an}{adj} {noun} {is} identified {in}, and further evaluation with CT is suggested.",
        "within the {where}, {an}{adj} {noun} {is} seen.",
        "{an}{adj} {noun} {in} warrant{vs} further evaluation with chest CT.",
        "{in}, there {is} {an}{adj} {noun}.",
        "{an}{adj} {noun} project{vs} over the {where}.",
    ),
    "Edema": (
        "there is {adj} pulmonary edema with indistinct pulmonary vasculature.",
        "interstitial markings are increased, in keeping with {adj} pulmonary edema.",
        "perihilar haziness and vascular indistinctness are compatible with {adj} pulmonary edema.",
        "the pulmonary vasculature is engorged and indistinct, reflecting {adj} edema.",
        "septal lines and haziness of the {where} reflect {adj} pulmonary edema.",
        "vascular redistribution and {adj} pulmonary edema are present.",
        "findings are in keeping with {adj} pulmonary edema.",
    ),
    "Consolidation": (
        "the {where} {wis} consolidated{tail}.",
        "{adj} consolidation occupies much of the {where}{tail}.",
        "there is {adj} consolidative change throughout the {where}{tail}.",
        "the {where} show{ws} {adj} consolidation{tail}.",
        "airspace {in} is replaced by {adj} consolidation{tail}.",
        "{adj} consolidation is centered {in}{tail}.",
    ),
    "Pneumonia": (
        "findings {in} are those of pneumonia.",
        "{adj} opacity {in} is consistent with pneumonia.",
        "the {where} show{ws} {adj} infiltration, in keeping with pneumonia.",
        "there is {adj} airspace opacity {in}, which in the appropriate clinical setting represents pneumonia.",
        "{adj} opacification of the {where} reflects pneumonia.",
        "{in}, {adj} infiltrate is compatible with pneumonia.",
        "there is pneumonia {in} with {adj} airspace opacity.",
    ),
    "Atelectasis": (
        "the {where} show{ws} {adj} {noun}{tail}.",
        "{adj} opacity {in} reflects {noun}{tail}.",
        "there is crowding of vessels {in} from {adj} {noun}{tail}.",
        "{adj} opacity {in} is due to atelectasis{tail}.",
        "aeration {in} is reduced by {adj} {noun}{tail}.",
        "{in}, there is {adj} {noun}{tail}.",
    ),
    "Pneumothorax": (
        "a visceral pleural line is seen {in}, consistent with {a}{adj} pneumothora{x}.",
        "there is air {in}, indicating {a}{adj} pneumothora{x}{tail}.",
        "a thin pleural line {in} outlines {a}{adj} pneumothora{x}.",
        "the {one} lung is separated from the chest wall by {a}{adj} pneumothora{x}.",
        "{in}, there {is} {a}{adj} pneumothora{x}{tail}.",
        "lucency {in} represents {a}{adj} pneumothora{x}.",
    ),
    "Pleural Effusion": (
        "the {angle} {wis} blunted, consistent with {a}{adj} pleural effusion{s}.",
        "the {angle} {wis} obscured by {a}{adj} pleural effusion{s}.",
        "fluid blunts the {angle}, representing {a}{adj} pleural effusion{s}.",
        "there is a {size} amount of {type} pleural fluid {on}{tail}.",
        "{in}, there {is} {a}{adj} pleural effusion{s}{tail}.",
        "meniscus formation at the {angle} reflects {a}{adj} pleural effusion{s}.",
        "the {one} hemidiaphragm is partly obscured by {a}{adj} pleural effusion{s}.",
    ),
    "Pleural Other": (
        "{an}{adj} {noun} {is} demonstrated {in}.",
        "{an}{adj} {noun} outline{vs} the {where}.",
        "there {is} chronic-appearing {adj} {noun} {in}.",
        "{an}{adj} {noun} follow{vs} the {where}.",
        "the {one} hemithorax shows {an}{adj} {noun}.",
        "incidental note is made of {an}{adj} {noun} {in}.",
        "{in}, there {is} {an}{adj} {noun}.",
    ),
    "Fracture": (
        "the {where} show{ws} {a}{adj} fracture{s}{tail}.",
        "there is step-off of the {where} from {a}{adj} fracture{s}.",
        "{a}{adj} fracture{s} {is} visible in the {where}.",
        "osseous structures show {a}{adj} fracture{s} of the {where}.",
        "irregularity of the {where} represents {a}{adj} fracture{s}.",
        "skeletal structures are notable for {a}{adj} fracture{s} of the {where}.",
    ),
    "Support Devices": (
        "{an}{adj} {noun} {is} in place{tail}.",
        "{an}{adj} {noun} {is} demonstrated{tail}.",
        "{an}{adj} {noun} project{vs} over the {where}{tail}.",
        "{an}{adj} {noun} {is} seen{tail}.",
        "the patient has {an}{adj} {noun}{tail}.",
        "there {is} {an}{adj} {noun} overlying the {where}{tail}.",
        "also noted {is} {an}{adj} {noun}{tail}.",
        "{an}{adj} {noun} overlie{vs} the {where}{tail}.",
        "there {is} {an}{adj} {noun} in situ{tail}.",
    ),
}

# A word of the device's kind -> sentences of where such a device lies.
DEVICE_CLAUSES: dict[str, tuple[str, ...]] = {
    "catheter": (
        "{an}{adj} {noun} terminate{vs} {in}{tail}.",
        "the tip of the {adj} {noun} projects over the {where}{tail}.",
        "{an}{adj} {noun} end{vs} {in}{tail}.",
    ),
    "PICC": (
        "{an}{adj} {noun} terminate{vs} {in}{tail}.",
        "the tip of the {adj} {noun} projects over the {where}{tail}.",
    ),
    "endotracheal": (
        "the patient is intubated, with {an}{adj} {noun} in place{tail}.",
        "monitoring and support equipment includes {an}{adj} {noun}{tail}.",
    ),
    "enteric": (
        "monitoring and support equipment includes {an}{adj} {noun}{tail}.",
        "{an}{adj} {noun} course{vs} into the {where}{tail}.",
        "{an}{adj} {noun} pass{es} into the {where}{tail}.",
    ),
    "pacemaker": ("{an}{adj} {noun} {is} seen over the {where}{tail}.",),
    "defibrillator": ("{an}{adj} {noun} {is} seen over the {where}{tail}.",),
    "chest tube": ("{an}{adj} {noun} enter{vs} the {where}{tail}.",),
    "wires": ("the {noun} are intact and {type}{tail}.", "postoperative changes include {adj} {noun}{tail}."),
}

PARENT = (  # Lung Opacity whose children are named besides
    "+parenchymal opacities {in}",
    "+opacities {in}",
    "abnormal opacification of the {where}",
    "+airspace opacities {in}",
    "abnormal opacity {in}",
    "+pulmonary opacities {in}",
    "+lung opacities {in}",
)
PARENT_CLAUSES = (
    "the {where} show{ws} abnormal opacity.",
    "there are opacities involving the {where}.",
    "aeration of the {where} is reduced by opacity.",
    "opacities project over the {where}.",
    "opacification involves the {where}.",
)

# Kind of a region -> (nouns, countable). Without an entry the kind itself is the noun.
KINDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "nodule": (("nodule", "pulmonary nodule", "lung nodule", "nodular opacity"), True),
    "mass": (("mass", "lung mass", "pulmonary mass", "mass lesion"), True),
    "atelectasis": (("atelectasis",), False),
    "lobar collapse": (("atelectasis", "collapse"), False),
    "pleural thickening": (("pleural thickening",), False),
    "apical cap": (("apical pleural thickening", "pleural thickening"), False),
    "pleural plaque": (("pleural plaque",), True),
    "endotracheal tube": (("endotracheal tube", "ET tube"), True),
    "central venous catheter": (("central venous catheter", "venous catheter"), True),
    "PICC line": (("PICC line", "PICC"), True),
    "pacemaker": (("pacemaker", "cardiac pacemaker", "pacing device"), True),
    "defibrillator": (("defibrillator", "cardiac defibrillator", "ICD"), True),
    "port catheter": (("port catheter", "port-a-cath"), True),
    "Swan-Ganz catheter": (("Swan-Ganz catheter", "pulmonary artery catheter"), True),
    "enteric tube": (("enteric tube", "nasogastric tube", "orogastric tube"), True),
    "chest tube": (("chest tube", "thoracostomy tube"), True),
    "sternotomy wires": (("sternotomy wires", "median sternotomy wires"), True),
}
KIND_IS_SAID = ("Lung Lesion", "Pleural Other", "Support Devices")  # classes of several things: the thing is a modifier

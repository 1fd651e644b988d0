"""Parts of the body and the words for how they are. Tables only; words as ``sentences.plain`` spells them.

"The heart is normal in size", "clear lungs", "stable cardiomediastinal silhouette": a part and a state that belongs to
it. ``none`` is any part that no observation speaks of; it takes the states that stand beside it.
"""

from __future__ import annotations

PARTS_STEMS = (
    "heart cardiac cardio mediastin lung lungs pleura pleural costophrenic cp bony bone bones osseous oseous skelet ribs "
    "pulmonary vascular vasculature aort trachea hila hilar hilum diaphragm hemidiaphragm soft abdomen airway spine volumes "
    "great ventric atri left right clavicles thora structures silhouette"
)
_AND_ITS_NOUN = r"(?= (?:and|or|,) (?:\w+ ){0,3}(?:silhouettes?|contours?|structures?|size|shadows?))"
PARTS: dict[str, tuple[str, ...]] = {
    "none": (
        r"lung volumes?", r"volumes", r"(?:mediastinal|hilar) (?:vessels|vasculature|structures and hil\w+)",
        r"(?:the )?(?:thoracic )?aort(?:a|ic)(?: \w+)?", r"trachea(?: \w+)?", r"hila\w*(?: contours?| structures| silhouettes?)?",
        r"hilum", r"(?:hemi)?diaphragms?", r"soft tissues?", r"(?:upper )?abdomen", r"airway", r"(?:\w+ )?spine", r"great vessels",
        r"cardiophrenic \w+", r"cardiac (?:valves?|leads?|devices?|monitor\w*|pac\w+|defib\w+|apex|surgery|arrest)",
        r"(?:left |right )?(?:ventric\w+|atri\w+)(?: \w+)?", r"heart (?:failure|valves?|block|rate|disease|border)",
    ),
    "both": (
        r"cardiomediastin\w*(?: and hilar)?(?: silhouettes?| contours?| structures| outlines?| shadows?| size)?",
        r"cardiac mediastinal (?:silhouettes?|contours?|structures?|\w+)",
        r"mediastinal cardiac (?:silhouettes?|contours?)",
        r"heart mediastinum", r"cardiopericardial silhouette",
    ),
    "heart": (
        r"heart(?: size| silhouettes?| shadow| contours?| outline)?",
        r"cardiac (?:size|silhouettes?|shadows?|contours?|borders?|outline)(?: size)?", rf"cardiac{_AND_ITS_NOUN}", r"cardiothymic \w+",
        r"transverse diameter of the heart",
    ),
    "mediastinum": (
        r"mediastinum",
        r"mediastinal (?:and hilar )?(?:silhouettes?|contours?|structures?|width|configuration|shadows?|outlines?)",
        rf"mediastinal{_AND_ITS_NOUN}",
    ),
    "vessels": (
        r"(?:pulmonary |lung )?(?:interstitial )?(?:vascularity|vasculature|vascular (?:engorgement|markings?|pattern|structures))",
        r"pulmonary (?:vessels|xxxx)", r"bronchovascular markings",
    ),
    "angle": (r"(?:costophrenic|cp) (?:angles?|sulc\w+)", ),
    "pleura": (r"pleural (?:spaces?|surfaces?)", r"pleura"),
    "lungs": (r"lungs?(?: fields?| parenchyma| bases?| apices| zones?)?",),
    "bones": (
        r"(?:bony?|osseous|oseous|skeletal)(?: and soft tissue)?(?: structures?| thorax| elements?| skeleton| cage)?",
        r"bones", r"skeleton", r"ribs", r"thoracic cage", r"clavicles",
    ),
}  # fmt: skip

STATES_STEMS = (
    "normal normally unremarkable within clear intact enlarge widen wide prominen increas large dilat big generous borderline upper "
    "top stable unchanged similar obscur not difficult indistinct congest engorged free sharp preserved cannot poorly "
    "incompletely without"
)
STATES: dict[str, tuple[str, ...]] = {
    "normal": (
        r"(?:at |in )?(?:the )?upper limits? (?:of )?normal", r"upper normal", r"top(?: |-)normal", r"high normal",
        r"(?:within )?(?:the )?(?:normal )?limits? of normal", r"within (?:the )?(?:\w+ )?limits", r"within normal",
        r"(?:ab)?(?<!ab)normal(?:ly)?(?! variant)", r"unremarkable", r"preserved",
        r"not (?:\w+ )?(?:enlarged|widened|increased|prominent|dilated|engorged|congested|distended)",
        r"without (?:\w+ ){0,3}(?:abnormalit\w+|enlargement|findings?|change|widening)",
        r"stable and normal",
    ),
    "clear": (r"clear(?: bilaterally)?", r"free (?:of|from)", r"sharp"),
    "intact": (r"intact",),
    "borderline": (r"borderline",),
    "enlarged": (
        r"enlarge\w*", r"widen\w*", r"wide", r"prominen\w*", r"dilated", r"generous",
        r"(?:increased|large|big)(?=$| ,| ;| \(| (?:and|for|but|or|in|with|since|compared|heart|cardi\w+|mediastin\w+|pulmonary|lung|vascul\w+))",
    ),
    "congested": (r"congest\w*", r"engorged", r"indistinct\w*"),
    "obscured": (
        r"obscured", r"(?:not|difficult|cannot|poorly|incompletely)(?: (?:be|to|well|fully|adequately|optimally|accurately))*"
        r" (?:evaluat|assess|seen|visualiz|measur|judge)\w*",
    ),
    "stable": (r"stable", r"(?:grossly )?unchanged", r"similar", r"not (?:\w+ )?changed", r"without (?:\w+ ){0,2}change"),
}  # fmt: skip

# (part, state) -> observation, polarity, in the order of weight: what is said first here holds, if several states are told
MEANING: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("heart", "enlarged"): (("Cardiomegaly", "positive"),),
    ("heart", "borderline"): (("Cardiomegaly", "uncertain"),),
    ("heart", "normal"): (("Cardiomegaly", "negative"),),
    ("heart", "clear"): (("Cardiomegaly", "negative"),),
    ("heart", "obscured"): (("Cardiomegaly", "uncertain"),),
    ("heart", "stable"): (("Cardiomegaly", "uncertain"),),
    ("mediastinum", "enlarged"): (("Enlarged Cardiomediastinum", "positive"),),
    ("mediastinum", "borderline"): (("Enlarged Cardiomediastinum", "uncertain"),),
    ("mediastinum", "normal"): (("Enlarged Cardiomediastinum", "negative"),),
    ("mediastinum", "clear"): (("Enlarged Cardiomediastinum", "negative"),),
    ("mediastinum", "obscured"): (("Enlarged Cardiomediastinum", "uncertain"),),
    ("mediastinum", "stable"): (("Enlarged Cardiomediastinum", "uncertain"),),
    ("both", "enlarged"): (("Enlarged Cardiomediastinum", "positive"),),
    ("both", "borderline"): (("Enlarged Cardiomediastinum", "uncertain"),),
    ("both", "normal"): (("Enlarged Cardiomediastinum", "negative"), ("Cardiomegaly", "negative")),
    ("both", "clear"): (("Enlarged Cardiomediastinum", "negative"), ("Cardiomegaly", "negative")),
    ("both", "obscured"): (("Enlarged Cardiomediastinum", "uncertain"),),
    ("both", "stable"): (("Enlarged Cardiomediastinum", "uncertain"),),
    ("lungs", "normal"): (("Lung Opacity", "negative"),),
    ("lungs", "clear"): (("Lung Opacity", "negative"),),
    ("vessels", "enlarged"): (("Edema", "uncertain"),),
    ("vessels", "congested"): (("Edema", "uncertain"),),
    ("angle", "normal"): (("Pleural Effusion", "negative"),),
    ("angle", "clear"): (("Pleural Effusion", "negative"),),
    ("pleura", "normal"): (("Pleural Effusion", "negative"), ("Pleural Other", "negative")),
    ("pleura", "clear"): (("Pleural Effusion", "negative"),),
    ("bones", "normal"): (("Fracture", "negative"),),
    ("bones", "intact"): (("Fracture", "negative"),),
    ("bones", "clear"): (("Fracture", "negative"),),
}
WEIGHT = ("borderline", "enlarged", "congested", "normal", "clear", "intact", "obscured", "stable")
WRONG = ("enlarged", "congested", "borderline")  # states that can be denied

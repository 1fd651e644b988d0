"""Phrases that name a finding. Tables only; words as ``sentences.plain`` spells them: no hyphens, ``air space`` one word.

``MENTIONS``: observation -> kind of mention -> phrases. Kinds: ``plain``: there, unless a cue says otherwise;
``hint``: no more than a possibility; ``normal``: said only to be denied ("no acute bony abnormality"); ``cancel``:
sounds like the finding, and is none; ``part``: said of a device, and a device itself only where the sentence names no other.
"""

from __future__ import annotations

_LUNG = r"(?:lung|pulmonary|parenchymal|airspace|alveolar|interstitial)"
_FLUID = (
    r"(?:(?:pleural|layering|loculated|localized|dependent|subpulmonic|free pleural) (?:\w+ )?fluid"
    r"|fluid (?:\w+ ){0,4}?(?:fissures?|pleural \w+)|fluid blunts|pleural based fluid)"
)

MENTIONS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "Enlarged Cardiomediastinum": (
        "mediastin widen",
        {
            "plain": (
                r"(?:widening|enlargement|prominence) of the (?:\w+ )?(?:cardio)?mediastin\w*(?: silhouette| contours?)?",
                r"(?:superior |upper |anterior |middle |posterior )?mediastinal (?:widening|enlargement|prominence|mass(?:es)?)",
                r"(?:increased|increase in) mediastinal width",
                r"wide(?:ned)? (?:\w+ )?(?:cardio)?mediastin\w*(?: silhouette| contours?)?",
            ),
        },
    ),
    "Cardiomegaly": (
        "cardiomegal cardiac heart",
        {
            "plain": (
                r"(?:cardiomegaly|cardiomegally)",
                r"cardiac enlargement",
                r"(?:enlargement|prominence) of (?:the )?(?:\w+ )?(?:heart|cardiac \w+)",
                r"(?:increased?|increase in|enlarged) (?:heart|cardiac) size",
            ),
        },
    ),
    "Lung Opacity": (
        "opaci opaque infiltrat airspace alveolar densit translucenc interstiti reticul scar cicatri ground markings "
        "peribronchial bronchial parenchymal fibro",
        {
            "cancel": (
                r"pleural (?:\w+ ){0,2}scar\w*", r"pleural thickening (?:or|and) scar\w*", r"pleuroparenchymal scar\w*",
                r"scar\w* (?:of|along) the pleura",
                r"bone (?:mineral )?densit\w+", r"(?:bony|osseous|metallic|calcific|calcified) (?:densit|opaci)\w+",
                r"bone scar\w*", r"surgical scar\w*",
                r"(?:cyst|pleural) fibro\w+", r"radiopaque",
            ),
            "plain": (
                r"opaci(?:ty|ties|fication|fications|fied)", r"opaque", r"infiltrat\w*",
                r"(?:airspace|alveolar) (?:\w+ )?(?:disease|process|processes)",
                r"decreased translucency", r"increased (?:\w+ )?densit\w+", r"densit(?:y|ies)",
                r"interstitial (?!edema)(?:\w+ )?(?:markings?|pattern|lung|disease|prominence|thickening|changes?|process|densit\w+)",
                r"(?:prominence|prominent|increased?|coarsened|coarse|thickened|thickening)"
                r" (?:of the |in the )?(?:\w+ )?(?:interstiti\w+|(?:lung|bronchovascular|pulmonary) markings?)(?: markings?| prominence)?",
                r"reticular (?:\w+ )?(?:pattern|markings?|changes?|densit\w+|opaci\w+)", r"reticul(?:ation|ations|onodular)",
                r"peribronchial (?:wall )?thickening", r"bronchial wall thickening",
                r"(?:parenchymal )?scar(?:ring|s)?", r"ground glass",
                r"(?:pulmonary|interstitial|lung) fibrosis", r"fibro(?:tic|sis)(?: changes?)?",
            ),
        },
    ),
    "Lung Lesion": (
        "mass nodul lump cavit lucent lytic carcinoma neoplas tumor metasta malignan lesion cancer",
        {
            "cancel": (
                r"calcified (?:\w+ ){0,2}nodul\w*", r"massive(?:ly)?", r"nodular (?:liver|contour)",
                r"(?:thoracic|chest|abdominal|peritoneal|pleural|nasal|oral) cavit(?:y|ies)",
                r"(?:lucent|expansile) (?:\w+ )?lesions?",
                r"(?:breast|chest wall|soft tissue|abdominal|renal|thyroid|mediastinal|hilar|bony?|bone|osseous|lytic"
                r"|blastic|sclerotic) (?:\w+ )?(?:mass(?:es)?|nodul\w+|lesions?|metasta\w+)",
            ),
            "plain": (
                r"mass(?:es)?(?: lesion)?", r"nodular (?:\w+ ){0,4}?(?:densit\w+|opaci\w+|lesions?|shadows?|focus|foci)",
                r"nodul(?:e|es|arity)", r"lumps?", r"cavitary (?:\w+ )?lesions?", r"cavitation", r"cavit(?:y|ies)",
                r"carcinoma\w*", r"neoplas\w+", r"tumou?rs?", r"malignan\w+", r"metasta\w+",
                rf"{_LUNG} (?:\w+ )?lesions?", r"lesions?", r"lung cancer",
            ),
        },
    ),
    "Edema": (
        "edema heart chf congest indistinct vascular cephaliz overload kerley",
        {
            "cancel": (r"(?:soft tissue|subcutaneous|leg|peripheral|body wall) edema",),
            "plain": (
                r"(?:(?:pulmonary|interstitial|alveolar|airspace|perihilar) )*edema", r"(?:congestive )?(?:heart|cardiac) (?:failure|decompensation)", r"chf",
                r"(?:volume|fluid) overload", r"kerley \w+(?: lines)?",
            ),
            "hint": (
                r"(?:vascular|pulmonary|venous|perihilar|central) (?:(?:vascular|venous) )?(?:congestion|engorgement(?! (?:\w+ ){0,3}(?:within|normal|limits)))",
                r"congestion", r"congestive changes?", r"vascular (?:prominence|redistribution|indistinctness)",
                r"indistinctness", r"cephalization",
                r"prominence of (?:the )?(?:central )?(?:pulmonary )?(?:vascular\w*|vasculature)",
            ),
        },
    ),
    "Consolidation": ("consolidat", {"plain": (r"consolidat(?:ion|ions|ive|ed)",)}),
    "Pneumonia": (
        "pneumoni infect bronchopneumoni",
        {
            "cancel": (
                r"(?:granulomatous|fungal|prior|previous|old|remote|histoplasm\w+) (?:\w+ )?infect\w+",
                r"(?:radiation|hypersensitivity|chemical|idiopathic interstitial) pneumoni(?:tis|a)", r"pneumonectomy", r"infectious symptoms",
            ),
            "plain": (
                r"(?:broncho|lobar )?pneumonias?", r"pneumonitis", r"pneumonic (?:\w+ )?\w+", r"infections?",
                r"infectious(?: or inflammatory)? ?(?:process|etiology|infiltrates?|disease)?",
            ),
        },
    ),
    "Atelectasis": (
        "atelect collaps",
        {
            "cancel": (
                r"(?:vertebral|vertebra|body|bony|tracheal|fracture) (?:\w+ )?collaps\w+",
                r"collapsed (?:vertebra\w*|disc)",
            ),
            "plain": (r"(?:sub)?atelecta\w+", r"atelectesis", r"collaps(?:e|ed)"),
        },
    ),
    "Pneumothorax": (
        "pneumothora hydropneumothora hemopneumothora ptx pleural extrapleural",
        {"plain": (r"(?:hydro|hemo)?pneumothora\w+", r"ptx", r"(?:pleural|extrapleural) air(?: collections?)?")},
    ),
    "Pleural Effusion": (
        "effusion fluid hydrothora hemothora hydropneumothora hemopneumothora blunt costophrenic",
        {
            "cancel": (r"(?:pericardial|joint) (?:\w+ )?effusions?", r"fluid (?:status|overload|balance|level)"),
            "plain": (
                r"(?:(?:pleural|parapneumonic)(?: or pericardial)? )?effusions?", _FLUID, r"(?:hydro|hemo)thora\w+",
                r"(?:hydro|hemo)pneumothora\w+",
            ),
            "hint": (
                r"blunting of (?:the )?(?:\w+ ){0,3}(?:costophrenic|cp|lateral|posterior) ?(?:angles?|sulc\w+|recess\w*)?",
                r"blunted (?:\w+ ){0,3}(?:costophrenic|cp) (?:angles?|sulc\w+)",
                r"(?:costophrenic|cp) (?:angles?|sulc\w+) blunting",
                r"(?:costophrenic|cp) (?:angles?|sulc\w+) (?:(?:is|are|appears?|remains?) )?(?:\w+ ){0,2}blunt(?:ed|ing)",
            ),
        },
    ),
    "Pleural Other": (
        "pleura pleuro fibrothora apical biapical plaque fissur",
        {
            "cancel": (r"(?:atherosclerotic|calcific|vascular) plaques?",),
            "plain": (
                r"(?:apical |biapical )?pleural (?:\w+ ){0,2}(?:thickening|scar\w*|fibrosis|plaques?|calcifications?)",
                r"pleural parenchymal (?:\w+ )?(?:scar\w*|thickening|change\w*)", r"pleuroparenchymal (?:\w+ )?\w+",
                r"thickening (?:of|along|in) the (?:\w+ ){0,2}(?:pleura|fissures?)", r"fissural thickening", r"thickened (?:\w+ )?pleura",
                r"scar\w* (?:of|along) the pleura", r"fibrothorax", r"plaques?",
                r"(?:bi)?apical (?:\w+ )?(?:cap(?:ping|s)?|thickening)",
            ),
        },
    ),
    "Fracture": (
        "fracture catheter lead leads screw wire hardware plate rod bony bone osseous oseous skelet cortical",
        {
            "cancel": (
                r"(?:catheter|leads?|screws?|wires?|hardware|plates?|rods?) (?:is |are )?fractur\w+",
                r"fractur\w+ (?:of )?(?:the )?(?:\w+ ){0,3}(?:catheter|leads?|screws?|wires?|hardware|plates?|rods?)",
            ),
            "plain": (r"fractur(?:e|es|ed)(?: deformit\w+)?", r"cortical disruption"),
            "normal": (
                r"(?:bony?|o?sseous|oseous|skeletal|bone)(?: or soft tissue)? ?(?:\w+ ){0,2}"
                r"(?:abnormalit\w+|findings?|patholog\w+|process\w*|injur\w+|lesions?|disease)",
            ),
        },
    ),
    "Support Devices": (
        "pacer pacemaker pacing line lines picc tube tubes valve catheter hardware arthroplast icd aicd defibrillat device "
        "drain plate plates screw screws cannula apparatus coil coils support equipment mediport port portacath "
        "sternotomy wire wires lead leads prosthe stent stents rod rods tubing shunt vp neurostim pump cable cables swan "
        "intubat tracheostom stimulator filter electrode generator anchor occluder tip tips",
        {
            "cancel": (
                r"(?:pleural|lung|fissure|midclavicular|septal|kerley|b|skin|mediastinal|fracture|air fluid|suture) lines?",
                r"visceral pleural line", r"line (?:placement|position) (?:is )?(?:not|none)",
                r"heart valves?", r"(?:\w+ )?valve (?:calcif\w+|disease|surgery|repair)", r"end plates?", r"endplates?",
                r"support (?:the|of|this|a)", r"plate ?like", r"line of", r"in line", r"portable", r"leads? to",
                r"portal", r"air bronchogram lines",
            ),
            "plain": (
                r"(?:cardiac |dual chamber |single chamber |biventricular )?(?:pacemakers?|pacers?|pacing (?:device|leads?|wires?)"
                r"|pacemaker leads?|(?:implantable )?(?:cardioverter )?defibrillators?|a?icds?)(?: leads?)?",
                r"picc(?: lines?| catheters?)?", r"(?:endotracheal|et|ett|enteric|nasogastric|ng|orogastric|og|feeding|chest"
                r"|thoracostomy|tracheostomy|dobbhoff|gastric|gastrostomy|jejunostomy|pleural|drainage) (?:tubes?|drains?|catheters?)",
                r"(?:swan ganz|pulmonary artery|pulmonary arterial|central venous|venous|dialysis|pigtail|port|picc|hickman"
                r"|indwelling|tunneled|infusion|ventriculoperitoneal|vp) (?:\w+ ){0,2}?(?:catheters?|lines?|shunts?)",
                r"port ?a ?caths?", r"mediports?", r"portacath(?:eter)?s?", r"infuse?aports?", r"chest ports?", r"ports?",
                r"(?:median |midline )?(?:sternotomy|sternal) (?:\w+ )?(?:wires?|sutures|cerclage \w+)",
                r"(?:spinal|surgical|orthopedic|fixation|fusion|metallic) hardware", r"hardware",
                r"(?:prosthetic|mechanical|artificial|replaced|aortic|mitral|tricuspid) (?:\w+ ){0,2}?(?:valves?|prosthes[ie]s)",
                r"valves?(?: replacements?| prosthes[ie]s)?", r"arthroplast\w+", r"prosthes[ie]s",
                r"stents?", r"catheters?", r"prosthetic \w+", r"(?:\w+ )?generators?", r"anchors?", r"occluders?",
                r"(?:support|monitoring) (?:and support )?equipment", r"support apparatus", r"cannulas?", r"apparatus",
                r"screws?", r"plates?", r"rods?", r"coils?", r"(?:pacer |pacemaker |pacing |monitor |ekg |ecg |cardiac )leads?", r"(?:\w+ )?(?:neuro)?stimulators?", r"(?:\w+ )?shunt(?: tubing| catheter)?", r"tubing",
                r"(?:ivc|caval|vena cava) filters?", r"swan ganz(?: catheters?)?", r"intubat(?:ed|ion)",
                r"tracheostomy", r"cerclage wires?", r"pacemaker wires?", r"pumps?", r"aicd", r"electrodes?",
            ),
            "part": (
                r"leads?", r"wires?", r"tubes?", r"lines?", r"drains?", r"(?:support |medical |pacing )?devices?",
                r"tips? (?:(?!catheter|tube|line|picc|port)\w+ ){0,7}?(?:svc|cava|caval|cavoatrial|atrium|carina|stomach|ventricle)",
            ),
        },
    ),
}  # fmt: skip

KIND_IS_SAID = ("Lung Lesion", "Pleural Other", "Support Devices")  # classes of several things: the thing is a modifier

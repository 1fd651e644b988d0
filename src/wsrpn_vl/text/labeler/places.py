"""Words for where a finding is and how it looks. Tables only; words as ``sentences.plain`` spells them."""

from __future__ import annotations

PLACES_STEMS = (
    "right left bilateral both bibasilar bibasal biapical upper mid middle lower base bases basilar basal apex apices apical "
    "perihilar lingul retrocardiac costophrenic hemithora lung lungs pleural chest fissure rll rul rml lll lul rib ribs "
    "clavic stern humer scapul vertebra thoracic spine cavoatrial superior svc trachea carina stomach esophag pulmonary "
    "brachiocephalic atrium ventricle atri ventric mediastin hilar lumbar subpulmonic midline diaphragm"
)
# kind -> zones: what may stand alone or after a side
_NTH = r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|\d+(?:st|nd|rd|th))"
ZONES: dict[str, tuple[str, ...]] = {
    "device": (
        r"(?:low |mid |upper |distal |proximal )?(?:superior vena cava|svc)(?: right atrial junction)?", r"cavoatrial junction",
        r"right (?:atrium|ventricle|ventricular apex)", r"(?:main |right |left )?pulmonary artery", r"trachea", r"stomach",
        r"(?:distal )?esophagus", r"midline sternum", r"brachiocephalic vein",
    ),
    "bone": (
        rf"(?:(?:{_NTH}|posterior|posterolateral|lateral|anterior|lower|upper|and|through|,|\d+) ){{0,7}}ribs?",
        r"(?:distal |mid |proximal |middle )?clavicles?", r"sternum", r"(?:proximal )?humer(?:us|al)(?: head| neck)?",
        r"scapulae?", r"(?:mid |lower |upper )?thoracic (?:spine|vertebra\w*)(?: bod\w+)?", r"vertebral? bod\w+",
        r"lumbar (?:spine|vertebra\w*)", r"spine",
    ),
    "pleura": (
        r"(?:(?:lateral|apical|basilar|apicolateral|posterior|medial) )?pleural spaces?", r"hemithora(?:x|ces)",
        r"costophrenic (?:angles?|sulc\w+|recess\w*)", r"(?:lateral |posterior |anterior )?chest wall", r"(?:minor|major) fissures?",
    ),
    "lung": (
        r"(?:upper|middle|mid|lower)(?: and (?:upper|middle|mid|lower))? lobes?", r"(?:upper|middle|mid|lower) (?:lungs?(?: zones?| fields?)?|zones?)",
        r"(?:lung )?(?:bases?|basal|basilar)(?: lungs?)?", r"(?:lung )?(?:apex|apices|apical)", r"perihilar(?: regions?| lungs?)?", r"hilar(?: region)?",
        r"lingular?", r"retrocardiac(?: region| space)?", r"lungs?(?: fields?)?",
    ),
}  # fmt: skip
WHOLE: dict[str, tuple[str, str]] = {  # words that say side and zone in one: kind, place
    "bibasilar": ("lung", "bilateral bases"),
    "bibasal": ("lung", "bilateral bases"),
    "biapical": ("lung", "bilateral apices"),
    "rll": ("lung", "right lower lobe"),
    "rml": ("lung", "right middle lobe"),
    "rul": ("lung", "right upper lobe"),
    "lll": ("lung", "left lower lobe"),
    "lul": ("lung", "left upper lobe"),
    "bilaterally": ("side", "bilateral"),
}
SPELLING: tuple[tuple[str, str], ...] = (  # to the words of the triples
    (r"\b(?:lung )?(?:bases?|basilar|basal)(?: lungs?)?\b(?! pleural)", "base"),
    (r"\b(?:lung )?(?:apex|apices|apical)\b(?! pleural)", "apex"),
    (r"\b(upper|middle|mid|lower) (?:lungs?(?: zones?| fields?)?|zones?)$", r"\1 lung zone"),
    (r"\bmiddle lung", "mid lung"),
    (r"\bmid lobe", "middle lobe"),
    (r"\blobes\b", "lobe"),
    (r"\bperihilar(?: regions?| lungs?)?$", "perihilar region"),
    (r"\bhilar(?: region)?$", "hilum"),
    (r"\blingular\b", "lingula"),
    (r"\bretrocardiac(?: space)?$", "retrocardiac region"),
    (r"\bcostophrenic (?:angles?|sulc\w+|recess\w*)", "costophrenic angle"),
    (r"\bhemithoraces\b", "hemithorax"),
    (r"\bpleural spaces\b", "pleural space"),
    (r"\blungs? fields?\b|\blungs\b", "lung"),
    (r"\bsvc\b", "superior vena cava"),
    (r"^left lingula$", "lingula"),
    (r" ,", ","),
)
PLURALS = {"apex": "apices", "hilum": "hila", "hemithorax": "hemithoraces", "lung": "lungs"}

_CHEST = ("lung", "side")
_PLEURA = ("pleura", "lung", "side")
FITTING: dict[str, tuple[str, ...]] = {  # observation -> kinds of places it can be in
    "Lung Opacity": _CHEST,
    "Lung Lesion": _CHEST,
    "Edema": _CHEST,
    "Consolidation": _CHEST,
    "Pneumonia": _CHEST,
    "Atelectasis": _CHEST,
    "Pneumothorax": _PLEURA,
    "Pleural Effusion": _PLEURA,
    "Pleural Other": _PLEURA,
    "Fracture": ("bone", "side"),
    "Support Devices": ("device", "pleura", "side"),
}

# word or words -> modifier; stands before the finding, or before the state of a part ("mildly enlarged")
MODIFIERS: dict[str, str] = {
    **{
        word: word
        for word in (
            "small large moderate trace tiny minimal mild severe massive slight marked extensive subtle minor linear streaky "
            "patchy discoid subsegmental segmental lobar bandlike focal multifocal diffuse hazy round nodular reticular "
            "confluent dense spiculated lobulated calcified cavitary irregular smooth loculated layering interstitial alveolar "
            "perihilar acute old healed healing displaced nondisplaced comminuted compression chronic borderline scattered "
            "multiple basilar subpulmonic rounded"
        ).split()
    },
    **{f"{word}ly": word for word in ("mild", "moderate", "severe", "marked", "slight", "minimal")},
    "platelike": "plate-like",
    "plate like": "plate-like",
    "ground glass": "ground-glass",
    "ill defined": "ill-defined",
    "band like": "bandlike",
    "moderately severe": "severe",
}
BEHIND = (  # modifiers in the words of the text, behind the finding
    r"with air bronchograms?", r"with volume loss", r"with callus", r"with deep sulcus sign", r"under tension",
    r"with (?:a )?prosthetic valve", r"with surgical clips", r"well aligned",
    r"leads? in the (?:right |left )?(?:atrium|ventricle)(?: and (?:right |left )?ventricle)?",
    r"tip (?:is |lies |located |projects |terminates )?(?:approximately )?(?:\d+(?:\.\d+)? cm )?"
    r"(?:above|below|at|in|directed towards?|near|over) the (?:\w+ )?\w+",
)  # fmt: skip
DEVICE_SIDES = r"(?:right|left) (?:internal jugular|subclavian|upper extremity|chest wall|ij|basilic|arm)|well aligned|midline"
CAPITALS = {"picc": "PICC", "icd": "ICD", "aicd": "AICD", "et": "ET", "ng": "NG", "og": "OG", "ij": "IJ", "svc": "SVC"}
NAMES = {"port a cath": "port-a-cath", "swan ganz": "Swan-Ganz"}

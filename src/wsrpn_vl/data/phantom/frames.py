"""The words of reports around the findings: frames, hedges, denials, normal, vague and stock statements.

Tables only; ``reports.py`` fills them in. {np}: a noun phrase of ``phrases.NOUNS``; {bare}: the same without its
article; {is}, {has} agree with it; {x}: a noun without article.
"""

from __future__ import annotations

FRAMES = ("there {is} {np}.", "{np} {is} seen.", "{np} {is} present.", "{np} {is} noted.", "{np} {is} identified.")
PLAIN_FRAMES = ("there {is} {np}.", "{bare}.", "note is made of {np}.")  # also right for a phrase with a clause in it
DEVICE_REPEAT_FRAMES = (  # only for a patient with an earlier study
    "again seen {is} {np}.",
    "{bare}, unchanged.",
    "unchanged {bare}.",
    "{np} {is} unchanged since ___.",
)
REPEAT_FRAMES = (
    *DEVICE_REPEAT_FRAMES,
    "no significant change in the {bare}.",
    "stable {bare}.",
    "persistent {bare}.",
    "{np} {has} not changed substantially from the prior study.",
)
CHANGE_FRAMES = (  # only for what comes and goes within days
    "{np} {has} increased since ___.",
    "{np} {has} improved from the prior study of ___.",
    "{np} {has} decreased since ___.",
    "interval increase in the {bare}.",
    "interval improvement in the {bare}.",
    "{np} {is} new since ___.",
    "there has been interval development of {np}.",
    "worsening {bare}.",
)
CHANGING = ("Lung Opacity", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion")
HEDGE_FRAMES = (
    "possible {bare}.",
    "there may be {np}.",
    "{np} {is} suspected.",
    "findings may represent {np}.",
    "{np} cannot be excluded.",
    "questionable {bare}.",
    "probable {bare}.",
    "suggestion of {np}.",
)

DOUBTED: dict[str, tuple[str, ...]] = {  # absent findings that a careful reader leaves open
    "Pneumonia": ("pneumonia", "early pneumonia", "superimposed pneumonia"),
    "Atelectasis": ("minor atelectasis", "dependent atelectasis"),
    "Edema": ("early pulmonary edema", "minimal interstitial edema"),
    "Pleural Effusion": ("trace pleural effusion", "tiny pleural effusion"),
    "Consolidation": ("early consolidation", "subtle focal consolidation"),
}
DOUBT_FRAMES = (
    "{x} cannot be excluded.",
    "possible {x}.",
    "{x} is difficult to exclude.",
    "{x} is not entirely excluded.",
    "question of {x}.",
    "{x} would be difficult to rule out.",
    "{x} is possible in the appropriate clinical setting.",
)

DENIED: dict[str, tuple[str, ...]] = {
    "Consolidation": ("focal consolidation", "consolidation", "lobar consolidation"),
    "Pleural Effusion": ("pleural effusion", "effusion", "pleural fluid"),
    "Pneumothorax": ("pneumothorax",),
    "Edema": ("pulmonary edema", "overt pulmonary edema", "edema"),
    "Pneumonia": ("pneumonia",),
    "Lung Lesion": ("pulmonary nodule", "suspicious nodule", "lung mass"),
    "Atelectasis": ("atelectasis",),
    "Fracture": ("displaced fracture", "rib fracture"),
}
DENIAL_FRAMES = (  # {list} after "or", {nor} after "nor"
    "no {list}.",
    "there is no {list}.",
    "no evidence of {list}.",
    "there is no evidence of {list}.",
    "no {list} is seen.",
    "no {list} is identified.",
    "negative for {list}.",
    "no radiographic evidence of {list}.",
    "no convincing evidence of {list}.",
    "neither {nor} is present.",
)
RESOLVED = (
    "previously seen {x} has resolved.",
    "interval resolution of {x}.",
    "{x} seen on the prior study is absent now.",
)

# State of the study -> words that may not stand beside it; the states are told by ``absences.states_of``.
UNFIT: dict[str, tuple[str, ...]] = {
    "devices": ("Normal chest", "Unremarkable chest"),
    "lung displaced": ("well expanded",),
    "mediastinum shifted": ("mediastin", "silhouette"),
    "supine": ("costophrenic", "free air"),  # fluid layers behind the lung, free air in front of the liver
    "lungs bare": ("superimposed",),
}
# (words of a template, modifier of the region that they would contradict or say again)
UNSUITED: tuple[tuple[str, str], ...] = (
    ("hemidiaphragm is", "loculated"),  # a lens on the wall leaves the diaphragm alone
    ("pleural line", "with deep sulcus sign"),  # air in front of the lung shows no edge
    ("separated from", "with deep sulcus sign"),
    ("areas of {adj} atelectasis", "lobar"),
    ("atelectatic changes", "lobar"),
    ("focal", "patchy"),
    ("occupies much", "patchy"),
    ("throughout", "patchy"),
    ("consolidated", "patchy"),
    ("cortical disruption", "healing"),
    ("step-off", "healing"),
    ("deformit", "acute"),
    ("in place", "in place"),
    ("blunting", "with blunting of the angle"),
    ("{in}", "with blunting of the angle"),
)
# (absent findings it speaks of, findings its triples deny, wordings); {other} is "otherwise " when something is wrong.
NORMAL: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("Cardiomegaly", "Enlarged Cardiomediastinum"),
        ("Cardiomegaly", "Enlarged Cardiomediastinum"),
        (
            "the cardiomediastinal silhouette is within normal limits.",
            "cardiomediastinal contours are normal.",
            "heart size is normal. Mediastinal contours are unremarkable.",
            "the cardiac and mediastinal silhouettes are unremarkable.",
            "the cardiomediastinal silhouette is unremarkable.",
            "cardiac and mediastinal contours are within normal limits.",
        ),
    ),
    (
        ("Cardiomegaly",),
        ("Cardiomegaly",),
        (
            "heart size is normal.",
            "the heart is not enlarged.",
            "the heart is normal in size.",
            "heart size is within normal limits.",
            "there is no cardiomegaly.",
        ),
    ),
    (
        ("Enlarged Cardiomediastinum",),
        ("Enlarged Cardiomediastinum",),
        (
            "mediastinal contours are unremarkable.",
            "the mediastinum is not widened.",
            "the mediastinal silhouette is normal.",
        ),
    ),
    (
        ("Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis"),
        ("Lung Opacity",),
        (
            "the lungs are {other}clear.",
            "both lungs are {other}clear.",
            "lungs are well expanded and {other}clear.",
            "the lungs are {other}clear without focal opacity.",
            "lungs are {other}clear bilaterally.",
            "there is no focal opacity.",
        ),
    ),
    (
        ("Pleural Effusion",),
        ("Pleural Effusion",),
        (
            "costophrenic angles are clear.",
            "there is no pleural effusion on either side.",
            "pleural effusion is absent.",
        ),
    ),
    (
        ("Pleural Effusion", "Pleural Other", "Pneumothorax"),
        ("Pleural Effusion", "Pleural Other", "Pneumothorax"),
        ("pleural surfaces are unremarkable, with no effusion or pneumothorax.",),
    ),
    (
        ("Fracture",),
        ("Fracture",),
        (
            "osseous structures are intact.",
            "no acute osseous abnormality.",
            "no displaced fracture is seen.",
            "bony structures are intact.",
            "imaged osseous structures are unremarkable.",
        ),
    ),
    (("Support Devices",), ("Support Devices",), ("no indwelling lines or tubes.", "no support devices are seen.")),
)
IMPRESSION_NORMAL = (
    "No acute cardiopulmonary process.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "No evidence of acute disease.",
    "No acute intrathoracic process.",
    "No radiographic evidence of acute cardiopulmonary disease.",
    "Unremarkable chest radiograph.",
)
FILLER = (  # says nothing of the 13 observations
    "Imaged upper abdomen is unremarkable.",
    "No free air below the right hemidiaphragm is seen.",
    "Visualized upper abdomen is normal.",
    "Imaged soft tissues are unremarkable.",
)
VAGUE_FINDINGS = (
    "Stable appearance of the chest.",
    "Findings as described previously.",
    "The examination is compared with the previous radiograph and appears similar.",
    "As compared to the previous radiograph, there is no relevant change.",
    "Appearance of the chest is similar to the study of ___.",
    "Please refer to the report of the prior study for details.",
    "The study was reviewed with the clinical team.",
    "The overall appearance is not substantially different from ___.",
)
VAGUE_IMPRESSION = (
    "No significant interval change.",
    "Findings as above.",
    "No relevant change since ___.",
    "Overall stable examination.",
    "Clinical correlation is recommended.",
    "Similar appearance to the prior study.",
    "Follow-up as clinically indicated.",
    "Stable examination.",
)
STOCK: dict[str, str] = {  # one wording each, with {place}: "", "on the right", "bilaterally"
    "Enlarged Cardiomediastinum": "The mediastinum is widened.",
    "Cardiomegaly": "The cardiac silhouette is enlarged.",
    "Lung Opacity": "There is opacity {place}.",
    "Lung Lesion": "There is a nodule or mass {place}.",
    "Edema": "There is pulmonary edema {place}.",
    "Consolidation": "There is consolidation {place}.",
    "Pneumonia": "There is airspace disease compatible with pneumonia {place}.",
    "Atelectasis": "There is atelectasis {place}.",
    "Pneumothorax": "There is pneumothorax {place}.",
    "Pleural Effusion": "There is pleural effusion {place}.",
    "Pleural Other": "There is pleural thickening or plaque {place}.",
    "Fracture": "There is a fracture {place}.",
    "Support Devices": "Support devices are in place {place}.",
}
STOCK_NORMAL = "The heart is normal in size. The lungs are clear. There is no pleural effusion or pneumothorax."
STOCK_DENIED = ("Cardiomegaly", "Lung Opacity", "Pneumothorax", "Pleural Effusion")

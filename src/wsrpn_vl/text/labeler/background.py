"""Statements beside the 13 observations: other disease, and normal chests. Tables only; words as ``sentences.plain``.

``OTHER``: what blocks ``No Finding`` and labels nothing, as the hidden list of the CheXpert labeler does.
"""

from __future__ import annotations

OTHER_STEMS = (
    "emphysema copd chronic hyperinflat hyperexpan hyperaerat hyperlucen hyperdisten overinflat hypoinflat hypoventil low decreased "
    "hernia calcif calcin scoliosis scolio kypho dextroscolio levoscolio granulom degenerat spondyl osteophyt osteopeni osteopor osteodystroph end endplate "
    "tortuo ectasi ectatic unfold atheroscl arterioscl thickening tracheostom deform eventrat elevat flatten adenopath lymphadenopath "
    "bronchiect aneurysm disloc arthri sclero cyst bulla bullous bleb mastectom postsurg postoper surg lucen free pneumoperit "
    "pneumomediast hilar bihilar bronchit bronchiol asthma airway reactive cuffing contusion hematoma hemorrhage hypertens volume shift "
    "deviat enlarged prominen dilat demineral spur dish bridging wedg compress height pectus lobectom pneumonectom resect absence "
    "clip suture sternotomy cabg bypass foreign bullet histoplasm sarcoid tubercul fibros ventric atri pericardial inflamm shrapnel "
    "hiatal abnormal azygos subcutaneous nipple fat increase markings thicken engorge blunt curvat stomach lung loss fusion anterior "
    "cholecyst gallst interposition crowding hypertroph aspiration metast humer shoulder"
)
OTHER: tuple[str, ...] = (
    r"emphysem\w+", r"copd", r"chronic (?:obstructive|lung|pulmonary|interstitial|bronch\w+|granulo\w+)\w*",
    r"hyper(?:inflat|expan|aerat|lucen|disten)\w+", r"overinflat\w+", r"hyp(?:oinflat|ovent|oaerat|oexpan)\w+",
    r"(?:low(?! normal)|decreased|diminished|small|reduced) (?:\w+ )?(?:lung )?volumes?", r"lung volumes (?:are |remain |appear )?(?:\w+ ){0,3}(?:low(?! normal)|decreased|diminished|small)",
    r"volume loss", r"loss of (?:\w+ )?(?:volume|height)", r"hernia\w*", r"calcif\w+", r"calcin\w+", r"(?:\w+)?scoliosis", r"(?:\w+)?scoliotic",
    r"kyphosis|kyphotic", r"granulom\w+", r"degenerat\w+", r"spondyl\w+", r"osteophyt\w+", r"osteopeni\w+", r"osteopor\w+", r"osteodystroph\w+", r"end ?plate changes", r"tortuo\w+", r"ectasia|ectatic",
    r"unfold\w+", r"athero\w+", r"arterioscl\w+", r"thicken\w+", r"tracheostom\w+", r"deform\w+", r"eventrat\w+",
    r"elevat\w+", r"flatten\w+", r"(?:lymph)?adenopath\w+", r"bronchiect\w+", r"aneurysm\w*", r"dislocat\w+", r"arthri\w+|arthropath\w+", r"sclero\w+",
    r"cysts?|cystic", r"bullae?|bullous|blebs?", r"mastectom\w+", r"post ?surgical|postsurg\w+|postoper\w+|post operat\w+", r"surgical(?:ly)?(?! )",
    r"lucen\w+", r"free (?:intraperitoneal )?air", r"pneumoperiton\w+", r"pneumomediast\w+", r"(?:bi)?hilar (?:\w+ )?(?:prominence|enlargement|fullness|mass)",
    r"(?:prominen\w+|enlarged|dilated|full) (?:\w+ ){0,2}(?:hil\w+|aort\w+|pulmonary arter\w+|azygos|epicardial|central pulmonary)", r"bronchi(?:tis|olitis|tic)", r"asthma",
    r"(?:reactive )?airways? disease", r"(?:peribronchial )?cuffing", r"contusion\w*", r"hemato\w+", r"hemorrhag\w+", r"hypertensi\w+", r"mediastinal shift",
    r"deviat\w+", r"demineral\w+", r"spur(?:s|ring)", r"dish", r"wedg\w+", r"compress\w+", r"pectus", r"(?:lob|pneumon)ectomy", r"resect\w+", r"clips?", r"suture\w*",
    r"sternotomy", r"cabg", r"bypass", r"foreign bod\w+", r"bullets?|shrapnel", r"histoplasm\w+", r"sarcoid\w*", r"tubercul\w+", r"fibrosis|fibrotic",
    r"(?:ventricular|atrial) (?:enlargement|hypertrophy|prominence)", r"pericardial (?:effusion|fat|cyst|calc\w+)", r"inflam\w+", r"subcutaneous (?:emphysema|air|gas)",
    r"nipple shadows?", r"increased (?:\w+ )?(?:markings|ap diameter)", r"blunt\w*", r"fusion", r"cholecystectomy", r"gallstones?|cholelith\w+", r"colonic interposition",
    r"crowding", r"aspiration", r"abnormal(?! finding)", r"curvature", r"anterior wedging", r"bridging",
)  # fmt: skip

NORMAL_STEMS = "normal unremarkable negative no clear without stable free"
# said of the chest as a whole: enough for a report without any other statement to be one of a normal chest
NORMAL: tuple[str, ...] = (
    r"no (?:\w+ ){0,4}?(?:acute|active|evidence of|evidence for|significant|radiographic)(?: \w+){0,4}? (?:cardio ?pulmonary|cardiopulm|cardiac|pulmonary|intrathoracic|thoracic"
    r"|disease|process|findings?|abnormalit\w+|infiltrate)\w*(?: \w+)?",
    r"no (?:\w+ )?abnormalit\w+", r"no (?:\w+ ){0,2}disease", r"normal (?:\w+ ){0,4}(?:chest|exam\w*|radiograph\w*|stud\w+|film\w*|examination)", r"normal chest",
    r"(?:unremarkable|negative) (?:\w+ ){0,3}(?:chest|exam\w*|radiograph\w*|stud\w+)", r"chest (?:\w+ ){0,3}(?:is|are|:|appears) (?:normal|unremarkable|clear)",
    r"(?:exam\w*|radiograph\w*|stud\w+) (?:is |are )?(?:within )?(?:normal|unremarkable|negative)(?: limits)?", r"lungs? (?:\w+ ){0,3}clear", r"clear lungs", r"no acute \w+",
    r"negative for acute \w+", r"without acute \w+", r"normal",
)  # fmt: skip

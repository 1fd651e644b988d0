"""The released table of Kaggle's VinDr-CXR: 67,914 rows of 17 readers, as they are."""

from __future__ import annotations

import json
import shutil
from importlib import resources

import polars as pl
import pytest

from fixtures.txv import txv_file
from wsrpn_vl.data.sources import SourceTables
from wsrpn_vl.data.sources.vindr import build
from wsrpn_vl.labels import label_column

CORNERS = ["x1", "y1", "x2", "y2"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> SourceTables:
    root = tmp_path_factory.mktemp("vinbigdata")
    shutil.copy(txv_file("vinbigdata-train.csv.gz"), root / "train.csv.gz")
    return build(root, check_files=False)


def test_the_real_kaggle_table(real: SourceTables) -> None:
    """Boxes and images of each class, and how many readers saw a cardiomegaly, as counted in the released table."""
    counted = {
        "Aortic enlargement": (7162, 3067), "Atelectasis": (279, 186), "Calcification": (960, 452),
        "Cardiomegaly": (5427, 2300), "Consolidation": (556, 353), "ILD": (1000, 386), "Infiltration": (1247, 613),
        "Lung Opacity": (2483, 1322), "Nodule/Mass": (2580, 826), "Other lesion": (2203, 1134),
        "Pleural Effusion": (2476, 1032), "Pleural_Thickening": (4842, 1981), "Pneumothorax": (226, 96),
        "Fibrosis": (4655, 1617),
    }  # fmt: skip
    assert real.boxes is not None and set(real.boxed_classes) == set(counted)
    own = real.boxes.filter(pl.col("reader").is_not_null())
    got = own.group_by("label").agg(pl.len(), pl.col("image_id").n_unique().alias("images"))
    assert {label: tuple(counts) for label, *counts in got.rows()} == counted
    named = {c: (real.frame[label_column(c)] != 0).sum() for c in counted}
    assert named == {c: images for c, (_, images) in counted.items()}
    seen = own.filter(label="Cardiomegaly").group_by("image_id").agg(pl.col("reader").n_unique())
    assert dict(seen["reader"].value_counts().rows()) == {1: 483, 2: 520, 3: 1297}
    assert real.frame.height == 15_000 and (real.frame["readers"].str.split(";").list.n_unique() == 3).all()
    assert real.frame["no_finding"].sum() == 10_606
    assert own.select(CORNERS).max().row(0)[2:] <= (3131, 3384)


def test_the_real_reference_agrees_with_the_real_labels(real: SourceTables) -> None:
    """A fused box needs two readers, who make the label 1; the published numbers are what is built by default."""
    assert real.boxes is not None
    reference = real.boxes.filter(pl.col("reader").is_null())
    for name in real.boxed_classes:
        boxed = set(reference.filter(label=name)["image_id"])
        positive = set(real.frame.filter(pl.col(label_column(name)) == 1)["image_id"])
        assert boxed <= positive
    said = json.loads((resources.files("wsrpn_vl.data") / "published" / "vindr_kaggle.json").read_text())
    assert dict(reference.group_by("label").len().rows()) == said["fused_boxes"]
    assert {c: (real.frame[label_column(c)] == 1).sum() for c in real.boxed_classes} == said["positives"]

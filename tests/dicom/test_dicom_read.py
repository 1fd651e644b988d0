"""One picture, stored in the many ways of DICOM, is one array; and no patient data comes out."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from fixtures.dicom import SECRET, TRUTH, dataset, fill, identity_window, jpeg2000, lut, save, stored
from wsrpn_vl.data.pixels import image_size, read_image
from wsrpn_vl.dicom.read import decoders, dicom_size, dicom_view, read_dicom
from wsrpn_vl.errors import DataError


def with_table(ds: Dataset, bits: int) -> Dataset:
    ds.VOILUTSequence = Sequence([lut(np.arange(2**bits) * (65535 / (2**bits - 1)), 0, 16)])
    return ds


def with_window(ds: Dataset, bits: int) -> Dataset:
    for name, value in identity_window(bits).items():
        setattr(ds, name, value)
    return ds


VOI: dict[str, Callable[[Dataset, int], Dataset]] = {
    "none": lambda ds, bits: ds,
    "window": with_window,
    "table": with_table,
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("voi", VOI)
def test_the_same_picture_however_it_is_stored(tmp_path: Path, photometric: str, bits: int, voi: str) -> None:
    """Quantisation is at most 1/510 (8 bit); percentiles 0.5 and 99.5 of the ramp cut one of 64 columns at most."""
    truth = 1 - TRUTH if photometric == "MONOCHROME1" else TRUTH
    ds = VOI[voi](dataset(stored(bits, truth), bits, PhotometricInterpretation=photometric), bits)
    image = read_dicom(save(tmp_path / "a.dcm", ds))
    assert image.dtype == np.float32 and image.shape == TRUTH.shape
    assert np.abs(image - TRUTH).max() < (0.017 if voi == "none" and bits > 8 else 0.0025)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_transfer_syntaxes_change_nothing(tmp_path: Path, syntax: UID, bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (33, 47))
    plain = dataset(values, bits, **identity_window(bits))
    packed = dataset(values, bits, **identity_window(bits))
    if syntax == RLELossless:
        packed.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    elif syntax == JPEG2000Lossless:
        fill(packed, syntax, jpeg2000(values, bits))
    else:
        packed.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and bits > 8:
            packed.PixelData = values.astype(">u2").tobytes()
    a, b = (read_dicom(save(tmp_path / f"{n}.dcm", ds)) for n, ds in (("plain", plain), ("packed", packed)))
    assert np.array_equal(a, b)
    assert np.allclose(a, values / (2**bits - 1), atol=1e-6)


def test_a_baseline_jpeg_inside_is_the_jpeg_outside(tmp_path: Path) -> None:
    smooth = np.rint(np.add.outer(np.arange(48), 2 * np.arange(64)) * 1.4).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, format="JPEG", quality=90)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    ds = fill(dataset(smooth, 8), JPEGBaseline8Bit, buffer.getvalue())
    inside, outside = read_dicom(save(tmp_path / "a.dcm", ds)), read_image(tmp_path / "a.jpg")
    assert np.abs(inside - outside).max() <= 1 / 255 + 1e-6  # decoders may round differently


def ramp(low: int, high: int) -> np.ndarray:
    return np.arange(low, high)[None, :]


def test_windows_by_hand(tmp_path: Path) -> None:
    """12 bit, centre 1000.5, width 201, x = 950.

    LINEAR: ((950 - 1000) / 200 + 0.5) = 0.25. LINEAR_EXACT: (950 - 1000.5) / 201 + 0.5 = 0.248756.
    SIGMOID: 1 / (1 + exp(-4 (950 - 1000.5) / 201)) = 1 / (1 + exp(1.004975)) = 0.267964.
    Ends: 0 below 900, 1 above 1100.
    """
    values = {}
    for kind in (None, "LINEAR", "LINEAR_EXACT", "SIGMOID"):
        extra = {"VOILUTFunction": kind} if kind else {}
        ds = dataset(ramp(0, 4096), 12, WindowCenter=1000.5, WindowWidth=201, **extra)
        values[kind] = read_dicom(save(tmp_path / f"{kind}.dcm", ds))[0]
    assert values[None][950] == pytest.approx(0.25, abs=1e-6)
    assert np.array_equal(values[None], values["LINEAR"])
    assert values["LINEAR_EXACT"][950] == pytest.approx(0.248756, abs=1e-6)
    assert values["SIGMOID"][950] == pytest.approx(0.267964, abs=1e-6)
    assert values["LINEAR"][:901].max() == 0 and values["LINEAR"][1100:].min() == 1


def test_of_several_windows_the_first_is_used(tmp_path: Path) -> None:
    one = dataset(ramp(0, 4096), 12, WindowCenter=1000, WindowWidth=200)
    two = dataset(ramp(0, 4096), 12, WindowCenter=[1000, 3000], WindowWidth=[200, 50])
    assert np.array_equal(read_dicom(save(tmp_path / "1.dcm", one)), read_dicom(save(tmp_path / "2.dcm", two)))


def test_a_table_wins_over_a_window_and_blank_windows_count_as_none(tmp_path: Path) -> None:
    table = with_table(dataset(stored(12), 12), 12)
    both = with_table(dataset(stored(12), 12, WindowCenter=10, WindowWidth=3), 12)
    assert np.array_equal(read_dicom(save(tmp_path / "1.dcm", table)), read_dicom(save(tmp_path / "2.dcm", both)))
    blank = dataset(stored(12), 12, WindowCenter=None, WindowWidth=None)
    none = dataset(stored(12), 12)
    assert np.array_equal(read_dicom(save(tmp_path / "3.dcm", blank)), read_dicom(save(tmp_path / "4.dcm", none)))


def test_a_table_of_8_bits_takes_12_bit_input_even_when_rescaled(tmp_path: Path) -> None:
    """Entry i of 4096 is i // 16, of 255: stored v becomes (v // 16) / 255. Slope 1, intercept 0 make v a float."""
    values = stored(12)
    for extra in ({}, {"RescaleSlope": 1, "RescaleIntercept": 0}):
        ds = dataset(values, 12, **extra)
        ds.VOILUTSequence = Sequence([lut(np.arange(4096) // 16, 0, 8)])
        image = read_dicom(save(tmp_path / "a.dcm", ds))
        assert np.allclose(image, (values // 16) / 255, atol=1e-6)


def test_a_table_is_held_beyond_its_ends(tmp_path: Path) -> None:
    """Table of 3 entries from 100: below 100 -> the first (10), above 102 -> the last (40), of 255."""
    ds = dataset(ramp(98, 106), 12)
    ds.VOILUTSequence = Sequence([lut(np.array([10, 20, 40]), 100, 8)])
    got = read_dicom(save(tmp_path / "a.dcm", ds))[0] * 255
    assert got.round().tolist() == [10, 10, 10, 20, 40, 40, 40, 40]


def test_a_modality_table_comes_before_the_window(tmp_path: Path) -> None:
    """The table turns v into 65535 - 16 v; the window over all 16 bits then shows it as (65535 - 16 v) / 65535."""
    ds = dataset(stored(12), 12, **identity_window(16))
    ds.ModalityLUTSequence = Sequence([lut(65535 - 16 * np.arange(4096), 0, 16)])
    image = read_dicom(save(tmp_path / "a.dcm", ds))
    assert np.allclose(image, (65535 - 16 * stored(12)) / 65535, atol=1e-6)


def test_rescaling_moves_the_window_along(tmp_path: Path) -> None:
    """v' = 2 v - 1000 under centre c' = 2 c - 1000, width 2 w with LINEAR_EXACT is the window (c, w) of v."""
    exact = {"VOILUTFunction": "LINEAR_EXACT"}
    plain = dataset(ramp(0, 4096), 12, WindowCenter=1500, WindowWidth=800, **exact)
    scaled = dataset(
        ramp(0, 4096), 12, WindowCenter=2000, WindowWidth=1600, RescaleSlope=2, RescaleIntercept=-1000, **exact
    )
    a, b = (read_dicom(save(tmp_path / f"{i}.dcm", ds)) for i, ds in enumerate((plain, scaled)))
    assert np.allclose(a, b, atol=1e-6) and 0 < a[0, 1500] < 1


@pytest.mark.parametrize("window", [{}, {"WindowCenter": -2048, "WindowWidth": 4096}])
def test_a_negative_slope_turns_the_picture_over(tmp_path: Path, window: dict[str, Any]) -> None:
    ds = dataset(stored(12), 12, RescaleSlope=-1, RescaleIntercept=0, **window)
    assert np.abs(read_dicom(save(tmp_path / "a.dcm", ds)) - (1 - TRUTH)).max() < 0.017


def test_signed_values(tmp_path: Path) -> None:
    values = stored(12) - 2048
    ds = dataset(values, 12, WindowCenter=0, WindowWidth=4096)
    assert np.abs(read_dicom(save(tmp_path / "a.dcm", ds)) - TRUTH).max() < 0.001
    high_bits_unset = dataset(values, 12, WindowCenter=0, WindowWidth=4096)
    high_bits_unset.PixelData = (values & 0x0FFF).astype("<u2").tobytes()
    assert np.array_equal(read_dicom(save(tmp_path / "b.dcm", high_bits_unset)), read_dicom(tmp_path / "a.dcm"))


def test_values_beyond_the_stored_bits_are_clipped_to_white_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """5000 > 4095: cutting its high bits would give 904, a grey."""
    values = stored(12)
    values[3, 5] = 5000
    with caplog.at_level(logging.WARNING):
        image = read_dicom(save(tmp_path / "a.dcm", dataset(values, 12, **identity_window(12))))
    assert image[3, 5] == 1 and "1 pixels lie outside the 12 stored bits" in caplog.text
    assert np.array_equal(np.delete(image, 3, 0), read_dicom(tmp_path / "a.dcm")[[i for i in range(48) if i != 3]])


def test_an_inverse_presentation_lut_does_not_invert_twice(tmp_path: Path) -> None:
    one = {"PhotometricInterpretation": "MONOCHROME1", **identity_window(12)}
    a = read_dicom(save(tmp_path / "a.dcm", dataset(stored(12), 12, **one)))
    b = read_dicom(save(tmp_path / "b.dcm", dataset(stored(12), 12, PresentationLUTShape="INVERSE", **one)))
    assert np.array_equal(a, b) and a[0, 0] == 1


def test_a_bright_marker_does_not_darken_the_chest(tmp_path: Path) -> None:
    """Without a window, 0.3 % of the pixels at 4095 leave a picture that ends at 1023 at full contrast."""
    values = np.tile(np.arange(1024), (100, 1))
    values[0, :300] = 4095
    image = read_dicom(save(tmp_path / "a.dcm", dataset(values, 12)))
    assert image[50, 1010] > 0.98 and image[0, 0] == 1


def test_a_constant_image_is_black(tmp_path: Path) -> None:
    assert read_dicom(save(tmp_path / "a.dcm", dataset(np.full((4, 4), 700), 12))).max() == 0


@pytest.mark.parametrize("read", [read_dicom, dicom_size])
def test_several_frames_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    frames = np.stack([stored(12), stored(12)[:, ::-1], stored(12)])
    path = save(tmp_path / "n.dcm", dataset(frames, 12, NumberOfFrames=3, **identity_window(12)))
    with pytest.raises(DataError, match=r"n\.dcm: holds 3 frames.*leave the file out"):
        read(path)
    one = dataset(frames[0], 12, NumberOfFrames=1, **identity_window(12))
    assert read_dicom(save(tmp_path / "1.dcm", one)).shape == TRUTH.shape


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    """0.299 for red, 0.587 for green, 0.114 for blue."""
    ds = dataset(np.zeros((1, 3), int), 8, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB")
    ds.PixelData = np.eye(3, dtype=np.uint8).tobytes().replace(b"\x01", b"\xff") + b"\0"
    assert read_dicom(save(tmp_path / "a.dcm", ds))[0].tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_files_are_known_by_content_and_may_lack_the_preamble(tmp_path: Path) -> None:
    path = save(tmp_path / "IM0001", dataset(stored(12), 12, **identity_window(12)))
    wanted = read_dicom(path)
    assert np.array_equal(read_image(path), wanted) and image_size(path) == dicom_size(path) == (64, 48)
    bare = tmp_path / "bare"
    raw = path.read_bytes()[132:]
    bare.write_bytes(raw)
    assert np.array_equal(read_image(bare), wanted)
    ds = dataset(stored(12), 12, **identity_window(12))
    del ds.file_meta
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, implicit_vr=True, little_endian=True, enforce_file_format=False)
    stripped = tmp_path / "stripped.dicom"
    stripped.write_bytes(buffer.getvalue())
    assert stripped.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_image(stripped), wanted) and image_size(stripped) == (64, 48)


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "LL"}, "LAT"),
        ({"ViewPosition": "AP", "SeriesDescription": "LATERAL"}, "AP"),
        ({"ViewPosition": "", "SeriesDescription": "Thorax PA"}, "PA"),
        ({"SeriesDescription": "CHEST PA AND LAT"}, "UNK"),
        ({}, "UNK"),
    ],
)
def test_view(tmp_path: Path, elements: dict[str, str], view: str) -> None:
    assert dicom_view(save(tmp_path / "a.dcm", dataset(stored(8), 8, **elements))) == view


def test_view_from_its_code(tmp_path: Path) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10206", "SRT", "antero-posterior"
    ds = dataset(stored(8), 8, ViewPosition="", ViewCodeSequence=Sequence([code]), SeriesDescription="PA")
    assert dicom_view(save(tmp_path / "a.dcm", ds)) == "AP"


def encoded_as(syntax: UID, path: Path) -> Path:
    return save(path, fill(dataset(stored(8), 8), syntax, b"\xff\xd8not a picture\x00"))


def test_a_missing_decoder_names_syntax_and_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded_as(JPEGLSLossless, tmp_path / "a.dcm")
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    with pytest.raises(DataError, match=r'JPEG-LS Lossless.*pip install "wsrpn-vl\[dicom\]"'):
        read_dicom(path)
    assert decoders()["JPEG-LS Lossless Image Compression"] is False


def faults(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = save(folder / "whole.dcm", dataset(stored(12), 12)).read_bytes()
    cut = folder / "cut.dcm"
    cut.write_bytes(whole[:-1000])
    stub = folder / "stub.dcm"
    stub.write_bytes(whole[:200])
    noise = folder / "noise.dcm"
    noise.write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(500))
    report = dataset(stored(12), 12)
    del report.PixelData
    narrow = dataset(stored(12), 12, WindowCenter=5, WindowWidth=0)
    palette = dataset(stored(8), 8, PhotometricInterpretation="PALETTE COLOR")
    return {
        "cut": (cut, "cannot be decoded"),
        "stub": (stub, "holds no image|not a readable DICOM"),
        "noise": (noise, "holds no image|not a readable DICOM"),
        "no pixels": (save(folder / "report.dcm", report), "holds no image"),
        "bad jpeg": (encoded_as(JPEGBaseline8Bit, folder / "jpeg.dcm"), "cannot be decoded"),
        "video": (encoded_as(MPEG2MPML, folder / "video.dcm"), "transfer syntax MPEG2.*not an image"),
        "window": (save(folder / "narrow.dcm", narrow), "Window Width"),
        "palette": (save(folder / "palette.dcm", palette), "PALETTE COLOR"),
        "gone": (folder / "gone.dcm", "no such DICOM file"),
    }


FAULTS = ["cut", "stub", "noise", "no pixels", "bad jpeg", "video", "window", "palette", "gone"]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_line_without_patient_data(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    path, message = faults(tmp_path)[fault]
    with pytest.raises(DataError, match=message) as caught:
        read_dicom(path)
    said = str(caught.value)
    assert str(path) in said and "\n" not in said
    assert SECRET not in said + caplog.text + "".join(str(w.message) for w in recwarn)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # a damaged header may promise any size
@pytest.mark.parametrize("form", ["JPEG", "JPEG2000"])
def test_damaged_streams_are_an_error_or_a_picture_and_never_the_end_of_the_process(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(stored(8).astype(np.uint8)).save(buffer, format="JPEG")
    whole = buffer.getvalue() if form == "JPEG" else jpeg2000(stored(8), 8)
    refused = 0
    for _ in range(40):
        broken = bytearray(whole[: rng.integers(4, len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.integers(1, 12)):
            broken[rng.integers(2, len(broken))] = rng.integers(256)
        syntax = JPEGBaseline8Bit if form == "JPEG" else JPEG2000Lossless
        path = save(tmp_path / "a.dcm", fill(dataset(stored(8), 8), syntax, bytes(broken)))
        try:
            image = read_dicom(path)
        except DataError:
            refused += 1
        else:
            assert image.shape == TRUTH.shape and np.isfinite(image).all()
    assert refused > 10


def test_patient_data_are_not_even_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.dcm", dataset(stored(8), 8, ViewPosition="PA"))
    kept: list[Dataset] = []
    real = pydicom.dcmread

    def spy(*args: Any, **options: Any) -> Dataset:
        kept.append(real(*args, **options))
        return kept[-1]

    monkeypatch.setattr(pydicom, "dcmread", spy)
    for read in (read_dicom, dicom_size, dicom_view):
        read(path)
    assert len(kept) == 3
    assert all("PatientName" not in ds and "PatientID" not in ds for ds in kept)

"""Files whose header is wrong, incomplete or unusual: the one sensible reading, or one clear line."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from fixtures.dicom import SECRET, TRUTH, dataset, fill, identity_window, lut, save, stored
from wsrpn_vl.dicom.read import dicom_size, read_dicom
from wsrpn_vl.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")
RAMP = np.tile(np.arange(1000, 3000), (4, 1))


def padded(values: np.ndarray, value: int) -> np.ndarray:
    """The same picture in a frame of padding, 100 pixels to the left."""
    return np.hstack([np.full((len(values), 100), value), values])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [0, 3500, 4095])
def test_padding_is_black_and_does_not_set_the_contrast(tmp_path: Path, photometric: str, value: int) -> None:
    """The picture beside the padding is the picture without it, whichever way it is shown."""
    alone = dataset(RAMP, 12, PhotometricInterpretation=photometric)
    framed = dataset(padded(RAMP, value), 12, PhotometricInterpretation=photometric, PixelPaddingValue=value)
    image = read_dicom(save(tmp_path / "b.dcm", framed))
    assert np.array_equal(image[:, 100:], read_dicom(save(tmp_path / "a.dcm", alone)))
    assert image[:, :100].max() == 0
    if value != 3500:
        untold = read_dicom(save(tmp_path / "c.dcm", dataset(padded(RAMP, value), 12)))
        assert not np.array_equal(untold[:, 100:], image[:, 100:])  # it would have made a difference


@pytest.mark.parametrize("ends", [(10, 90), (90, 10)])
def test_a_range_of_padding(tmp_path: Path, ends: tuple[int, int]) -> None:
    values = padded(RAMP, 0)
    values[:, :100] = np.arange(100)
    ds = dataset(values, 12, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1], **identity_window(12))
    black = read_dicom(save(tmp_path / "a.dcm", ds))[0] == 0
    assert black[10:91].all() and not black[91:].any() and not black[1:10].any()  # stored 0 is black itself


@pytest.mark.parametrize("said", [-2000, 63536])  # the second: the same bits read without a sign
def test_padding_of_signed_values_beyond_the_stored_bits(
    tmp_path: Path, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    """-2000 lies outside 11 stored bits (-1024 ... 1023); as padding it is neither clipped nor counted."""
    values = padded(np.tile(np.arange(-900, 900), (4, 1)), -2000)
    ds = dataset(values, 11, WindowCenter=0, WindowWidth=2048)
    ds.add_new("PixelPaddingValue", "SS" if said < 0 else "US", said)
    with caplog.at_level(logging.WARNING):
        image = read_dicom(save(tmp_path / "a.dcm", ds))
    assert image[:, :100].max() == 0 and np.allclose(image[0, 100:], (np.arange(-900, 900) + 1024) / 2047, atol=1e-6)
    assert not caplog.records


def test_nothing_but_padding_is_black(tmp_path: Path) -> None:
    ds = dataset(np.full((4, 4), 700), 12, PixelPaddingValue=700, PhotometricInterpretation="MONOCHROME1")
    assert read_dicom(save(tmp_path / "a.dcm", ds)).max() == 0


@pytest.mark.parametrize("bits", [10, 12, 14, 15])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_depths_of_open_i(tmp_path: Path, bits: int, photometric: str) -> None:
    """Window blank, rescale 1 and 0, view blank, INVERSE with MONOCHROME1 alone."""
    truth = 1 - TRUTH if photometric == "MONOCHROME1" else TRUTH
    ds = dataset(stored(bits, truth), bits, PhotometricInterpretation=photometric, RescaleSlope=1, RescaleIntercept=0)
    ds.WindowCenter = ds.WindowWidth = None
    ds.PresentationLUTShape, ds.ViewPosition = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY", ""
    assert np.abs(read_dicom(save(tmp_path / "a.dcm", ds)) - TRUTH).max() < 0.017


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL_422", "MONOCHROME", "", "monochrome2", " MONOCHROME2"])
def test_one_sample_is_grey_whatever_the_tag_says(tmp_path: Path, said: str, caplog: pytest.LogCaptureFixture) -> None:
    ds = dataset(stored(12), 12, **identity_window(12))
    wanted = read_dicom(save(tmp_path / "a.dcm", ds))
    ds.PhotometricInterpretation = said
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_dicom(save(tmp_path / "b.dcm", ds)), wanted)
    wrong = said.strip().upper() != "MONOCHROME2"
    assert ("but 1 sample(s) per pixel; read as MONOCHROME2" in caplog.text) == wrong


def test_without_a_photometric_tag_the_presentation_decides(tmp_path: Path) -> None:
    ds = dataset(stored(12), 12, **identity_window(12))
    del ds.PhotometricInterpretation, ds.SamplesPerPixel
    assert np.allclose(read_dicom(save(tmp_path / "a.dcm", ds)), TRUTH, atol=1e-3)
    ds.PresentationLUTShape = "INVERSE"
    assert np.allclose(read_dicom(save(tmp_path / "b.dcm", ds)), 1 - TRUTH, atol=1e-3)


@pytest.mark.parametrize("planar", [0, 1])
def test_three_samples_called_grey_are_luminance(tmp_path: Path, planar: int, caplog: pytest.LogCaptureFixture) -> None:
    ds = dataset(stored(8), 8, SamplesPerPixel=3, PlanarConfiguration=planar)
    three = np.stack([stored(8).astype(np.uint8)] * 3, 0 if planar else -1)
    ds.PixelData = three.tobytes()
    image = read_dicom(save(tmp_path / "a.dcm", ds))
    assert np.allclose(image, stored(8) / 255, atol=1e-6) and "read as RGB" in caplog.text


@pytest.mark.parametrize("said", ["MONOCHROME2", "", "YBR_FULL_422"])
def test_a_colour_jpeg_of_a_grey_film(tmp_path: Path, said: str) -> None:
    values, buffer = stored(8).astype(np.uint8), io.BytesIO()
    Image.fromarray(values).convert("RGB").save(buffer, format="JPEG", quality=95)
    ds = fill(dataset(values, 8, SamplesPerPixel=3, PlanarConfiguration=0), JPEGBaseline8Bit, buffer.getvalue())
    ds.PhotometricInterpretation = said
    assert np.abs(read_dicom(save(tmp_path / "a.dcm", ds)) - TRUTH).max() < 0.03


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1 with 3 sample"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR with 1 sample"),
        ({"PhotometricInterpretation": SECRET}, "of an unknown kind with 1 sample"),
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "CMYK"}, "of an unknown kind with 4 sample"),
        ({"WindowCenter": 5, "WindowWidth": 0.5}, "Window Width must be greater"),
        ({"WindowCenter": 5, "WindowWidth": -3, "VOILUTFunction": "SIGMOID"}, "Window Width must be greater"),
        ({"WindowCenter": 5, "WindowWidth": 50, "VOILUTFunction": SECRET}, "VOILUTFunction is none of LINEAR"),
        ({"BitsAllocated": 0}, "BitsAllocated of the DICOM header"),
        ({"Rows": 0}, "Rows of the DICOM header"),
        ({"Columns": 640}, "cannot be decoded"),
    ],
)
def test_what_has_no_sensible_reading_is_one_line(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    ds = dataset(stored(12), 12)
    for name, value in elements.items():
        setattr(ds, name, value)
    path = save(tmp_path / "a.dcm", ds)
    with pytest.raises(DataError, match=message) as caught:
        read_dicom(path)
    assert "\n" not in str(caught.value) and SECRET not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"])
def test_words_where_a_number_belongs_are_not_quoted(tmp_path: Path, name: str) -> None:
    ds = dataset(stored(12), 12, WindowCenter=5, WindowWidth=50, RescaleSlope=1, RescaleIntercept=0)
    path = save(tmp_path / "a.dcm", ds)
    tag = pydicom.datadict.tag_for_keyword(name)
    assert tag is not None
    element = tag.to_bytes(4, "little")[2:] + tag.to_bytes(4, "little")[:2] + b"DS"
    raw = path.read_bytes()
    at = raw.index(element)
    length = int.from_bytes(raw[at + 6 : at + 8], "little")
    path.write_bytes(raw[: at + 6] + b"\x0c\x00" + SECRET.encode() + raw[at + 8 + length :])
    with pytest.raises(DataError, match=f"{name} of the DICOM header is no number") as caught:
        read_dicom(path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "elements", [{"RescaleIntercept": 1e308, "RescaleSlope": 1e308}, {"RescaleIntercept": "-1e308"}]
)
def test_values_beyond_all_numbers_are_refused(tmp_path: Path, elements: dict[str, Any]) -> None:
    """1e308 * 4095 + 1e308 is infinite, and infinity less infinity no number."""
    ds = dataset(stored(12), 12, **({"RescaleSlope": "-1e308"} | elements))
    with pytest.raises(DataError, match=r"a\.dcm: rescale and window of the DICOM header lead to no finite value"):
        read_dicom(save(tmp_path / "a.dcm", ds))


def test_a_narrow_exact_window_is_allowed(tmp_path: Path) -> None:
    """Rescaled to 0 ... 1, a width of 0.5 is half the range: v / 4095 under (0.5, 0.5) is 2 v / 4095 - 0.5."""
    ds = dataset(stored(12), 12, WindowCenter=0.5, WindowWidth=0.5, VOILUTFunction="LINEAR_EXACT")
    ds.RescaleSlope, ds.RescaleIntercept = 1 / 4095, 0
    wanted = np.clip(2 * stored(12) / 4095 - 0.5, 0, 1)
    assert np.allclose(read_dicom(save(tmp_path / "a.dcm", ds)), wanted, atol=1e-4)


@pytest.mark.parametrize("function", ["", "linear", "LINEAR "])
def test_the_window_function_in_any_spelling(tmp_path: Path, function: str) -> None:
    one = dataset(stored(12), 12, WindowCenter=2000, WindowWidth=1000)
    two = dataset(stored(12), 12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function)
    assert np.array_equal(read_dicom(save(tmp_path / "1.dcm", one)), read_dicom(save(tmp_path / "2.dcm", two)))


def test_more_centres_than_widths(tmp_path: Path) -> None:
    one = dataset(stored(12), 12, WindowCenter=1000, WindowWidth=200)
    two = dataset(stored(12), 12, WindowCenter=[1000, 3000], WindowWidth=200)
    assert np.array_equal(read_dicom(save(tmp_path / "1.dcm", one)), read_dicom(save(tmp_path / "2.dcm", two)))


@pytest.mark.parametrize(
    ("half", "whole"),
    [
        ({"RescaleSlope": 2}, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        ({"RescaleIntercept": -100}, {"RescaleSlope": 1, "RescaleIntercept": -100}),
        ({"RescaleSlope": 0, "RescaleIntercept": 7}, {}),
        ({"RescaleSlope": None, "RescaleIntercept": None}, {}),
        ({"WindowCenter": None}, {"WindowWidth": None}),
    ],
)
def test_half_a_pair_has_the_standard_s_other_half(tmp_path: Path, half: dict[str, Any], whole: dict[str, Any]) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    a, b = (dataset(stored(12), 12, **(window | extra)) for extra in (half, whole))
    assert np.array_equal(read_dicom(save(tmp_path / "a.dcm", a)), read_dicom(save(tmp_path / "b.dcm", b)))


def test_values_in_the_upper_bits_move_down_and_only_they(tmp_path: Path) -> None:
    values = stored(12)
    wanted = read_dicom(save(tmp_path / "a.dcm", dataset(values, 12, **identity_window(12))))
    upper = dataset(values, 12, HighBit=15, **identity_window(12))
    upper.PixelData = (values << 4).astype("<u2").tobytes()
    assert np.array_equal(read_dicom(save(tmp_path / "b.dcm", upper)), wanted)
    lower = dataset(values, 12, HighBit=15, **identity_window(12))  # says so and does not do it
    assert np.array_equal(read_dicom(save(tmp_path / "c.dcm", lower)), wanted)


def test_impossible_stored_bits_are_the_allocated_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = read_dicom(save(tmp_path / "a.dcm", dataset(stored(16), 16, **identity_window(16))))
    ds = dataset(stored(16), 16, **identity_window(16))
    ds.BitsStored = 20
    assert np.array_equal(read_dicom(save(tmp_path / "b.dcm", ds)), wanted) and "read as 16" in caplog.text


def test_a_table_of_signed_input_says_its_first_level_without_a_sign(tmp_path: Path) -> None:
    """63488 is -2048 in 16 bits: entry i is for the value i - 2048."""
    ds = dataset(stored(12) - 2048, 12)
    ds.VOILUTSequence = Sequence([lut(np.arange(4096), 63488, 12)])
    assert np.allclose(read_dicom(save(tmp_path / "a.dcm", ds)), stored(12) / 4095, atol=1e-6)


@pytest.mark.parametrize("frames", ["1", "0", "", "1A"])
def test_a_frame_count_that_is_no_count_is_one(tmp_path: Path, frames: str) -> None:
    ds = dataset(stored(8), 8)
    with pydicom.config.disable_value_validation():
        ds.add_new("NumberOfFrames", "LO", frames)
    path = save(tmp_path / "a.dcm", ds)
    assert read_dicom(path).shape == TRUTH.shape and dicom_size(path) == (64, 48)


def test_a_picture_without_rows_is_one_line_for_its_size(tmp_path: Path) -> None:
    ds = Dataset()
    ds.file_meta = dataset(stored(8), 8).file_meta
    with pytest.raises(DataError, match="no Rows and Columns"):
        dicom_size(save(tmp_path / "a.dcm", ds))

"""Every transfer syntax of radiography that can be encoded here, or that pydicom's own test files hold."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fixtures.dicom import dataset, fill, identity_window, jpeg2000, save, stored
from wsrpn_vl.dicom.read import decoders, read_dicom
from wsrpn_vl.dicom.stream import stream_size
from wsrpn_vl.errors import DataError

BITS = (8, 10, 12, 14, 15, 16)  # Open-I has 10, 12, 14 and 15
GDCM = {
    JPEGLossless: "JPEGLosslessProcess14",
    JPEGLosslessSV1: "JPEGLosslessProcess14_1",
    JPEGExtended12Bit: "JPEGExtendedProcess2_4",
}
# 16 x 16 of 12 bits, value (11 row + 7 column) mod 256 times 13, made with OpenJPH (imagecodecs 2026.3)
HTJ2K_LOSSLESS = base64.b85decode(
    "|4;u>04YEK0000G0000G00000000000000G0000G0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&kdTm&kdTmwh="
    "~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000xBvnFlfVEbrS}B~bN~Rr024p}6F>kGfO!4_hjaii`U3}a0Qmq%bO68r6Tko!5C8<=J{A4"
    "~0(1Zv0RWx>M6>__f!Y8-Q~<yL6>tCrWB>tDn3x!T5B;Puf^`6b3gR?FLcl@+EVck<aE7n_;KS4azyK{M00pZ60ID<^jYgyWjD8a5zyLaWaRPY&9"
    "62~RI5<Lt&xF?foM21#F@fy50RK!s`{(|E<JAEF*#"
)
HTJ2K_LOSSY = base64.b85decode(
    "|4;u>04YEK0000G0000G00000000000000G0000G0000000000009pH0sl|{2mk^A001igQUDA90ssL31q1{@0RLP7BO<pLw(7R(w!E(ZuK=#%r%"
    "b0zr(}==kOPoLm(rKgmtp^802crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*000017XShOlfVE0ILWl&2nTck0KfnOXaE3B000R<AnF7MbO1`i1c!7"
    "0{Qw7a0KfnRQ~&@~zyJk6LFfVI@bm$Kv;b*<AzeTs{sG3c00=C|@&JHT0Kfni%m4vxKmZk>hzJ5<&mK{*5D3E{kO5{<{s3nO5CB=209J)nVMSOi!"
    "I%&X1;e;9OArDW0LK6T(76Dz13*dw2Kj@C@pIMyzyKFb003Q700C(LEc<*o9L9b=91deY70!vVU>l%k3d-wT0EH;`{8#c<;tIeEe*i|qFbu;m5JE"
    "Hj8T=W3hCjo<Tp!R?-V{_H00;n=F$fB7h!@GNa%wRF5WWZj1ei*)qon;n5hWa8xB&mz"
)
HTJ2K_VALUES = np.add.outer(np.arange(16) * 11, np.arange(16) * 7) % 256 * 13


def noise(bits: int) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, 2**bits, (34, 47))


def shown(values: np.ndarray, bits: int) -> Dataset:
    """With the window under which stored v is v / (2^bits - 1)."""
    return dataset(values, bits, **identity_window(bits))


def plain(syntax: UID) -> Callable[[np.ndarray, int, Path], Path]:
    def write(values: np.ndarray, bits: int, path: Path) -> Path:
        ds = shown(values, bits)
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and bits > 8:
            ds.PixelData = values.astype(">u2").tobytes()
        return save(path, ds)

    return write


def rle(values: np.ndarray, bits: int, path: Path) -> Path:
    ds = shown(values, bits)
    ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return save(path, ds)


def jpeg_ls(values: np.ndarray, bits: int, path: Path, error: int = 0) -> Path:
    ds = shown(values, bits)
    syntax = JPEGLSNearLossless if error else JPEGLSLossless
    ds.compress(
        syntax, encoding_plugin="pyjpegls", generate_instance_uid=False, **({"jls_error": error} if error else {})
    )
    return save(path, ds)


def jpeg_2000(values: np.ndarray, bits: int, path: Path) -> Path:
    return save(path, fill(shown(values, bits), JPEG2000Lossless, jpeg2000(values, bits)))


def by_gdcm(syntax: UID) -> Callable[[np.ndarray, int, Path], Path]:
    def write(values: np.ndarray, bits: int, path: Path) -> Path:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(plain(ExplicitVRLittleEndian)(values, bits, path)))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, GDCM[syntax])))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return path

    return write


LOSSLESS: dict[UID, Callable[[np.ndarray, int, Path], Path]] = {
    ImplicitVRLittleEndian: plain(ImplicitVRLittleEndian),
    ExplicitVRLittleEndian: plain(ExplicitVRLittleEndian),
    ExplicitVRBigEndian: plain(ExplicitVRBigEndian),
    DeflatedExplicitVRLittleEndian: plain(DeflatedExplicitVRLittleEndian),
    RLELossless: rle,
    JPEGLSLossless: jpeg_ls,
    JPEG2000Lossless: jpeg_2000,
    JPEGLossless: by_gdcm(JPEGLossless),
    JPEGLosslessSV1: by_gdcm(JPEGLosslessSV1),
}


# gdcm does not encode 8-bit lossless JPEG; one of pydicom's own files is read below
@pytest.mark.parametrize(
    ("syntax", "bits"),
    [(syntax, bits) for syntax in LOSSLESS for bits in BITS if not (syntax in GDCM and bits == 8)],
    ids=lambda value: value.name if isinstance(value, UID) else str(value),
)
def test_lossless_files_give_back_every_value(tmp_path: Path, syntax: UID, bits: int) -> None:
    values = noise(bits)
    path = LOSSLESS[syntax](values, bits, tmp_path / "a.dcm")
    assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert np.allclose(read_dicom(path), values / (2**bits - 1), atol=1e-6)


def smooth(bits: int) -> np.ndarray:
    ramp = np.add.outer(np.sin(np.arange(48) / 9), np.cos(np.arange(64) / 7))
    return stored(bits, (ramp + 2) / 4)


def test_near_lossless_jpeg_ls_stays_within_the_error_it_was_told(tmp_path: Path) -> None:
    values = smooth(12)
    image = read_dicom(jpeg_ls(values, 12, tmp_path / "a.dcm", error=3))
    assert 0 < np.abs(image * 4095 - values).max() <= 3 + 1e-3


def test_lossy_jpeg_2000_is_near(tmp_path: Path) -> None:
    values = smooth(12)
    frame = bytes(
        encode_array(values.astype("u2"), bits_stored=12, photometric_interpretation=2, compression_ratios=[20])
    )
    image = read_dicom(save(tmp_path / "a.dcm", fill(shown(values, 12), JPEG2000, frame)))
    assert 0 < np.abs(image * 4095 - values).mean() < 41  # 1 % of the range


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_8_bit_jpegs_are_near(tmp_path: Path, syntax: UID) -> None:
    values, buffer = smooth(8).astype(np.uint8), io.BytesIO()
    Image.fromarray(values).save(buffer, format="JPEG", quality=95)
    image = read_dicom(save(tmp_path / "a.dcm", fill(shown(values, 8), syntax, buffer.getvalue())))
    assert np.abs(image * 255 - values).max() < 6


def test_a_12_bit_jpeg_names_the_decoder_it_needs(tmp_path: Path) -> None:
    path = by_gdcm(JPEGExtended12Bit)(smooth(12), 12, tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"JPEG Extended .* with 12 bits; pip install pylibjpeg-libjpeg \(GPLv3\)"):
        read_dicom(path)


@pytest.mark.parametrize(
    ("syntax", "frame", "error"),
    [(HTJ2KLossless, HTJ2K_LOSSLESS, 0), (HTJ2KLosslessRPCL, HTJ2K_LOSSLESS, 0), (HTJ2K, HTJ2K_LOSSY, 12)],
)
def test_high_throughput_jpeg_2000(tmp_path: Path, syntax: UID, frame: bytes, error: int) -> None:
    image = read_dicom(save(tmp_path / "a.dcm", fill(shown(HTJ2K_VALUES, 12), syntax, frame)))
    assert np.abs(image * 4095 - HTJ2K_VALUES).max() <= error + 1e-3


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, ExplicitVRBigEndian])
def test_signed_values_in_every_packing(tmp_path: Path, syntax: UID) -> None:
    values = noise(12) - 2048
    ds = dataset(values, 12, WindowCenter=0, WindowWidth=4096)
    if syntax == JPEG2000Lossless:
        fill(ds, syntax, bytes(encode_array(values.astype("i2"), bits_stored=12, photometric_interpretation=2)))
    elif syntax == ExplicitVRBigEndian:
        ds.file_meta.TransferSyntaxUID, ds.PixelData = syntax, values.astype(">i2").tobytes()
    else:
        ds.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    assert np.allclose(read_dicom(save(tmp_path / "a.dcm", ds)), (values + 2048) / 4095, atol=1e-6)


REAL: dict[str, dict[str, Any]] = {  # name -> the same picture in another packing, or its size
    "MR_small_RLE": {"like": "MR_small"},
    "MR_small_bigendian": {"like": "MR_small"},
    "MR_small_expb": {"like": "MR_small"},
    "MR_small_implicit": {"like": "MR_small"},
    "MR_small_jp2klossless": {"like": "MR_small"},
    "MR_small_jpeg_ls_lossless": {"like": "MR_small"},
    "MR_small_padded": {"like": "MR_small"},
    "JPEGLSNearLossless_08": {"shape": (45, 10)},
    "JPEGLSNearLossless_16": {"shape": (50, 10)},
    "SC_rgb_jpeg_gdcm": {"shape": (100, 100)},  # lossless JPEG, 8 bits
    "SC_rgb_jpeg_dcmtk": {"shape": (100, 100)},
    "image_dfl": {"shape": (512, 512)},
    "693_J2KI": {"shape": (512, 512)},
    "J2K_pixelrep_mismatch": {"shape": (512, 512)},
    "JPEG2000": {"shape": (1024, 256)},
}


@pytest.mark.parametrize("name", REAL)
def test_the_library_s_own_files(name: str) -> None:
    folder = Path(DATA_ROOT) / "test_files"
    if not folder.is_dir():
        pytest.skip("this pydicom comes without test files")
    image = read_dicom(folder / f"{name}.dcm")
    if like := REAL[name].get("like"):
        assert np.array_equal(image, read_dicom(folder / f"{like}.dcm"))
    else:
        assert image.shape == REAL[name]["shape"]
    assert image.dtype == np.float32 and 0 <= image.min() < 0.3 and 0.5 < image.max() <= 1


@pytest.mark.parametrize("name", ["rtplan", "reportsi", "waveform_ecg", "MR_truncated", "rtdose", "examples_palette"])
def test_what_is_no_radiograph_is_one_line(name: str) -> None:
    path = Path(DATA_ROOT) / "test_files" / f"{name}.dcm"
    if not path.is_file():
        pytest.skip("this pydicom comes without test files")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="holds no image|frames|cannot be decoded|PALETTE") as caught:
            read_dicom(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("write", [jpeg_ls, jpeg_2000, by_gdcm(JPEGLosslessSV1)])
def test_a_stream_of_another_size_is_not_even_decoded(
    tmp_path: Path, write: Callable[[np.ndarray, int, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged JPEG-LS stream that promises 60000 x 60000 pixels keeps its decoder busy for minutes."""
    path = write(smooth(12), 12, tmp_path / "a.dcm")
    ds = pydicom.dcmread(path)
    ds.Rows = 49
    ds.save_as(path)
    monkeypatch.setattr("wsrpn_vl.dicom.read.pixel_array", lambda *a, **k: pytest.fail("decoded"))
    with pytest.raises(DataError, match="header says 64 x 49 pixels and the stream 64 x 48"):
        read_dicom(path)
    ds.Rows = ds.Columns = 60000
    ds.save_as(path)
    with pytest.raises(DataError, match="60000 x 60000 pixels are more than a radiograph has"):
        read_dicom(path)


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_the_size_of_a_stump_is_unknown_or_right(cut: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth(8).astype(np.uint8)).save(buffer, format="JPEG")
    for stream in (buffer.getvalue(), jpeg2000(smooth(12), 12)):
        assert stream_size(stream) == (64, 48)
        if cut >= 24 or stream is buffer.getvalue():
            assert stream_size(stream[:cut]) in (None, (64, 48))
    assert stream_size(b"\xff\xd8" + b"\xff" * 40) is None and stream_size(b"") is None


def test_every_decoder_of_the_extras_is_here() -> None:
    assert all(decoders().values()) and len(decoders()) == 8

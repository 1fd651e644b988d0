"""The layouts a phantom can be written in. One file per layout, one line here."""

from __future__ import annotations

from wsrpn_vl.data.phantom.layouts import chexpert, dicom, imagenome, mimic, native, nih, vindr
from wsrpn_vl.data.phantom.layouts.base import Layout

LAYOUTS: dict[str, Layout] = {
    "native": native.LAYOUT,
    "mimic-cxr-jpg": mimic.LAYOUT,
    "chest-imagenome": imagenome.LAYOUT,
    "chexpert": chexpert.LAYOUT,
    "nih": nih.LAYOUT,
    "vindr": vindr.LAYOUT,
    "dicom": dicom.LAYOUT,
}

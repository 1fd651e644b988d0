"""WSRPN-VL: find and box pathologies in chest radiographs, trained without a single box."""

__version__ = "0.1.0"

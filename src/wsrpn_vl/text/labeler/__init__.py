"""Findings out of reports by rules: mention, denial, doubt, place. See ``reading`` for the entry points."""

from wsrpn_vl.text.labeler.aggregate import aggregate, label_of, no_finding
from wsrpn_vl.text.labeler.reading import Reading, label_reports, read_report, read_statements

__all__ = ["Reading", "aggregate", "label_of", "label_reports", "no_finding", "read_report", "read_statements"]

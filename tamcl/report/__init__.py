"""One HTML page that answers a study's question, the sentences of its answer, and figures and tables for a paper."""

from tamcl.findings.answers import verdicts
from tamcl.findings.oracles import oracle_verdicts
from tamcl.report.page import outcomes, write_report
from tamcl.report.paper_figures import write_figures
from tamcl.report.paper_table import paper_table
from tamcl.report.sweep import sweep_verdicts, write_sweep_report

__all__ = [
    "oracle_verdicts",
    "outcomes",
    "paper_table",
    "sweep_verdicts",
    "verdicts",
    "write_figures",
    "write_report",
    "write_sweep_report",
]

"""One HTML page that answers a study's question, and the sentences of its answer."""

from tamcl.findings.answers import verdicts
from tamcl.findings.oracles import oracle_verdicts
from tamcl.report.page import outcomes, write_report
from tamcl.report.sweep import sweep_verdicts, write_sweep_report

__all__ = ["oracle_verdicts", "outcomes", "sweep_verdicts", "verdicts", "write_report", "write_sweep_report"]

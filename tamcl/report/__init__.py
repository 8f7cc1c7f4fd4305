"""One HTML page that answers a study's question, and the sentences of its answer."""

from tamcl.findings.oracles import oracle_verdicts
from tamcl.report.page import outcomes, verdicts, write_report

__all__ = ["oracle_verdicts", "outcomes", "verdicts", "write_report"]

"""One HTML page that answers a study's question, and the sentences of its answer."""

from tamcl.report.page import verdicts, write_report

__all__ = ["verdicts", "write_report"]

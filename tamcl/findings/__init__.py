"""What a study that was read says: answers, and what to know before relying on them."""

from tamcl.findings.study import Study

__all__ = ["Study"]

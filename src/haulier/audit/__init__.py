"""The audit log: who did what, from where, and whether it was allowed; append-only, each line chained to the one before.

`chain` is the format and pure; `files` are the log's files in the data directory; `log` is the thread that writes them; `endings`
adds what became of each job.
"""

from haulier.audit.endings import Endings
from haulier.audit.log import AuditLog

__all__ = ["AuditLog", "Endings"]

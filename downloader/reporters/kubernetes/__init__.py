"""The AIMArtifact's status, kept up to date from within the pod: best effort, and never in the download's way.

status.py    what a snapshot looks like as a status (pure)
cadence.py   when the next patch is due (pure)
access.py    where the API server is, and what its answers mean for us
client.py    the one home of the `kubernetes` package
reporter.py  the thread that ties them together
"""

from downloader.reporters.kubernetes.access import ClusterAccess
from downloader.reporters.kubernetes.reporter import KubernetesReporter

__all__ = ["ClusterAccess", "KubernetesReporter"]

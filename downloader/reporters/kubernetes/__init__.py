"""Keeps the status of the AIMArtifact up to date from within the pod. Best effort: it never affects the download.

status.py    the status that shows a snapshot (pure)
throttle.py  when the next patch is due (pure)
access.py    where the API server is, and what its responses mean
client.py    the only module that imports the `kubernetes` package
reporter.py  the thread that uses all of them
trial.py     a patch that the API server checks and does not store
"""

from downloader.reporters.kubernetes.access import ClusterAccess, NotWritten
from downloader.reporters.kubernetes.reporter import KubernetesReporter
from downloader.reporters.kubernetes.trial import try_patch

__all__ = ["ClusterAccess", "KubernetesReporter", "NotWritten", "try_patch"]

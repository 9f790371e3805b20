"""Finds out before a download whether it would start, and why not: a line for each check, with what to do.

Each check uses what a run uses: the same settings, HTTP client, source, file system and access to the cluster. It never
starts a run, and leaves nothing behind.

finding.py      what a check has found, and all findings together
groups.py       checks that run at the same time, each group within its time
diagnosis.py    which checks there are, and their order
environment.py  the variables
machine.py      memory and CPUs
target.py       the target folder: rights, file system, lease, space
source.py       the artifact: credentials, listing, first bytes
hosts.py        the way to each host that the source touches
cluster.py      the status of the AIMArtifact
"""

from downloader.doctor.diagnosis import diagnose
from downloader.doctor.finding import Diagnosis, Finding, Level

__all__ = ["Diagnosis", "Finding", "Level", "diagnose"]

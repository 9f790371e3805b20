"""The runs: what each command does, from settings to result. Here, and only here, the parts of a run meet.

A run takes settings, a `Runner` with its cancellation, and reporters. It reads no environment, handles no signals,
writes to no stream and knows no command line, so several runs can go on at once in one process.

runner.py    the thread of a run, its deadline and its cancellation
wiring.py    the objects of a run, made from its settings
download.py  one artifact onto one volume; unpacking.py is the volume that unpacks an archive
signing.py   the signature of an artifact, compared with what came and with what is there
size.py      the listing of an artifact
verify.py    the check of a finished volume
adapters.py  the adapter disk: stage, reap and sync
"""

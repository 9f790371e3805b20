"""Brings an AI model artifact onto a volume, verified byte by byte. `docs/how-it-works.md` is the map."""

__version__ = "0.1.0"

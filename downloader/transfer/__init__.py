"""Transports: the code that moves the bytes of a protocol onto the volume."""

from downloader.transfer.base import CompletedFile, FileSink, Transport
from downloader.transfer.config import TransferConfig
from downloader.transfer.registry import TransportFactory
from downloader.transfer.xet import XetSettings

__all__ = ["CompletedFile", "FileSink", "TransferConfig", "Transport", "TransportFactory", "XetSettings"]

"""What the operator's debug switches ask for: a source, a transport and a volume that only pretend.

Chosen where a run is put together; nothing else knows of them.
"""

from downloader.simulation.adapter import simulate
from downloader.simulation.source import SimulatedSource
from downloader.simulation.transport import Script, SimulatedTransport
from downloader.simulation.volume import RoomyDisk, SimulatedVerification

__all__ = ["RoomyDisk", "Script", "SimulatedSource", "SimulatedTransport", "SimulatedVerification", "simulate"]

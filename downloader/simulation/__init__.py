"""What the operator's debug switches ask for: a source, a transport and a verification that only pretend.

Chosen where a run is wired (`runs/`); no other package imports this one.
"""

from downloader.simulation.adapter import simulate
from downloader.simulation.switches import SlowLooks, simulation_of, slow_looks_of
from downloader.simulation.volume import RoomyDisk, SimulatedVerification

__all__ = ["RoomyDisk", "SimulatedVerification", "SlowLooks", "simulate", "simulation_of", "slow_looks_of"]

"""What the operator's debug switches enable: a simulated source, transport, verification and adapter.

Chosen where a run is wired (`runs/`); no other package imports this one.
"""

from downloader.simulation.adapter import simulate
from downloader.simulation.switches import SlowLooks, simulation_of, slow_looks_of
from downloader.simulation.volume import RoomyDisk, SimulatedVerification

__all__ = ["RoomyDisk", "SimulatedVerification", "SlowLooks", "simulate", "simulation_of", "slow_looks_of"]

"""The parts of the simulation; `tests/contract/test_debug_switches.py` runs them through the command."""

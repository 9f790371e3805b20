"""Real servers on loopback, with faults on demand. Tests, demo and benchmarks start the same ones."""

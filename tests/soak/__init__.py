"""The soak: the real command is killed at random moments, over every protocol and through random faults.

    make soak                        # ten minutes
    make soak ARGS='--seconds 60 --seed 7'
    make soak ARGS='--shards 4'      # four processes on each volume, also between nodes of GlusterFS and CephFS

`artifact.py` is what is downloaded, `places.py` where it is served, `disturbances.py` what goes wrong, `volumes.py` one
volume from empty to complete, `table.py` the figures, `shards.py` volumes that several processes fill
together. The short form in the suite is `test_soak.py`.
"""

"""The soak: the real command is killed at random moments, over every protocol and through random faults.

    make soak                        # ten minutes
    make soak ARGS='--seconds 60 --seed 7'

`artifact.py` is what is downloaded, `places.py` where it is served, `disturbances.py` what goes wrong, `volumes.py` one
volume from empty to complete, `table.py` the figures. The short form in the suite is `test_soak.py`.
"""

"""The image, built and run for real: `make image-test`. It needs root and Debian's packages, nothing else."""

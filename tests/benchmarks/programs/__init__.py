"""One small program for each peer that is a library, run with the Python of `.bench`."""

"""What `deploy/` renders to: valid for Kubernetes, allowed by its strictest policy, and known to the program."""

"""The whole command on real distributed file systems: GlusterFS and CephFS, each node with a mount of its own."""

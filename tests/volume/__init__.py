"""The volume's promises, each with a test that breaks something."""

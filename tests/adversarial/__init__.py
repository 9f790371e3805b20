"""Everything that others can send, and what must never come of it."""

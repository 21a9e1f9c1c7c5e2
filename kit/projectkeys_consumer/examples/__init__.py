"""Example programs that copy every key to another store; each is short enough to copy and change."""

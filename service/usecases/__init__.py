"""What callers can have done; each write owns its transaction."""

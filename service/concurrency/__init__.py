"""Building blocks for asynchronous work; they know nothing of keys."""

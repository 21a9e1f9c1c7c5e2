"""Two sinks that keep a copy of every key elsewhere; each is short enough to be read whole and taken."""

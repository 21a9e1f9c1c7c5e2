"""Fault experiments: what becomes of keys and events when the parts of the service are killed, halted or cut off."""

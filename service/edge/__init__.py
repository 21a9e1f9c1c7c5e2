"""The edge: reads the topic into memory and serves it to relays, proxies and look-ups; it has no database."""

"""What the tests, the benchmark and the fault experiments share: processes, servers, an HTTP client, polling."""

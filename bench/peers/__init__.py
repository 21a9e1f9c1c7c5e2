"""Programs that `make bench` measures beside the service."""

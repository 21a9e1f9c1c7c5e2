"""What the service is about, without input or output."""

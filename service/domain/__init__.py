"""The domain: its values and its rules, without input or output."""

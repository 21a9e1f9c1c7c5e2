"""What the embedded servers raise."""


class EmbeddedServerError(Exception):
    """An embedded server cannot be had; the text tells a person why, and where its log lies."""

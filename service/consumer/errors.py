"""What can go wrong for those who hold keys."""


class NotReadyError(Exception):
    """Not every key is known yet; the text tells what is in the way, if anything is."""


class MalformedError(ValueError):
    """A record is not what the schemas promise; its key and the text tell how."""


class SnapshotError(Exception):
    """A file cannot be used; the text tells why."""


class ReadAnewError(Exception):
    """What is held cannot be carried on with: the topic has to be read from its beginning."""

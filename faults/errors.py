"""Why an experiment ends without a result of the checker."""


class ExperimentError(Exception):
    """The experiment cannot be run here, which is no verdict on the service."""


class NotRecoveredError(Exception):
    """The service did not recover in time, which is a verdict on it."""

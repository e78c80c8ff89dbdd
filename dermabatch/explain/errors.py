"""Why an answer cannot be explained."""

from dermabatch.errors import InvalidRequest


class CannotExplain(InvalidRequest):
    """The method does not fit the network."""

    code = "cannot_explain"

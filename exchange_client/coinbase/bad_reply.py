"""How an answer of Coinbase is no answer."""


class BadReply(ValueError):
    """A reply that is not what the exchange's documentation promises; the text says what is wrong with it."""

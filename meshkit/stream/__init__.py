"""Both ends of a bidirectional work stream: credit, per-item errors, heartbeats, draining, resend after a break.

The frames belong to each contract; adapters tell these rooms how to read and make them.
"""

from meshkit.stream.client import AskFrames, ItemStream
from meshkit.stream.server import AnswerFrames, answer_items

__all__ = ["AnswerFrames", "AskFrames", "ItemStream", "answer_items"]

"""Both ends of a bidirectional work stream: credit, per-item errors, heartbeats, draining, resend after a break.

The frames belong to each contract; adapters tell these rooms how to read and make them.
"""

from meshkit.stream.answering import AnswerFrames, answer_items
from meshkit.stream.asking import AskFrames, ItemStream

__all__ = ["AnswerFrames", "AskFrames", "ItemStream", "answer_items"]

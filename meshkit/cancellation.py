"""What becomes of errors that are met while a task is being cancelled.

Cleaning up after a cancellation may fail: a rollback, for example, whose connection was cut. That error would take the
cancellation's place, and a loop that lives through outages would go on for ever in a process that wants to end.
"""

import asyncio


def being_cancelled() -> bool:
    """Whether somebody has asked the current task to end, and it has not ended yet. False outside of any task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0


def heed(error: BaseException) -> None:
    """For who is about to live through an error: CancelledError if the task is asked to end."""
    if being_cancelled():
        raise asyncio.CancelledError from error


def unless_cancelled(error: Exception) -> Exception | asyncio.CancelledError:
    """The error to raise: this one, or the cancellation that it would hide."""
    return asyncio.CancelledError() if being_cancelled() else error

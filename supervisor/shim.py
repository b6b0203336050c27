"""Stands between supervisor and service for a moment: asks the kernel to end the service with its
supervisor.

Run as a script by path, with standard library only: it is paid for at every start. Linux alone has the
request; elsewhere the supervisor starts the service directly and the reaper does the same work a moment
later.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when `parent` dies; leaves by SystemExit if that cannot be had."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the request was in place
        sys.exit(1)


def main() -> None:
    supervisor, argv = int(sys.argv[1]), sys.argv[2:]
    die_with(supervisor)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main()

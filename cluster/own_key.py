"""Makes a private key of a mounted Secret a file of its reader alone: `python -m cluster.own_key SOURCE TARGET`.

Kubernetes shows a Secret as links to files of root that a group may read; a key that others could have read is refused by
whoever signs with it.
"""

import sys
from pathlib import Path

from supervisor.keys import write_new


def main() -> None:
    """Exit code 0: copied; else the reason is all that is written to stderr."""
    if len(sys.argv) != 3:
        sys.exit("own-key needs the key's file and where its copy goes")
    source, target = map(Path, sys.argv[1:])
    try:
        write_new(target, source.read_bytes())
    except OSError as error:
        sys.exit(f"{source} cannot be copied to {target}: {error}")


if __name__ == "__main__":
    main()

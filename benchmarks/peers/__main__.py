"""The command: `python -m benchmarks.peers`; see `benchmarks.peers.command`."""

from __future__ import annotations

import sys

from benchmarks.peers.command import main

if __name__ == "__main__":
    main(sys.argv[1:])

"""``python -m tune_bridge``: the command line."""

from __future__ import annotations

from tune_bridge.cli.main import main

if __name__ == "__main__":
    main()

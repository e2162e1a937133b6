"""``python3 -m vmcoretool``."""

import sys

if __name__ == "__main__":
    # python -m looks for modules in the current folder first, and that may be anybody's
    looks_there = not (sys.flags.isolated or getattr(sys.flags, "safe_path", False))
    if looks_there and sys.path[0] != __file__.rpartition("/vmcoretool/")[0]:
        del sys.path[0]
    from vmcoretool.cli.entry import main

    main()

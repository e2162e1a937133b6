"""``python3 -m vmcoretool``."""

from vmcoretool.cli.entry import main

if __name__ == "__main__":
    main()

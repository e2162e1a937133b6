"""``python3 -m vmcoretool``."""

from vmcoretool.cli import main

if __name__ == "__main__":
    main()

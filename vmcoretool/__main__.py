"""``python3 -m vmcoretool``."""

from vmcoretool.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m alchemist_dsl` is `alchemist`."""

from alchemist_dsl.cli.main import main

if __name__ == "__main__":
    main()

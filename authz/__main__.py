"""`python -m authz` is the `authz` command."""

from authz.cli import main

if __name__ == "__main__":
    main()

"""`python -m fcnjax`: the command line without an installed script."""

from fcnjax.cli import console

if __name__ == "__main__":
    console()

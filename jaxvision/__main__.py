"""`python -m jaxvision`."""

from jaxvision.cli import main

if __name__ == "__main__":
    main()

"""`python -m jaxvision`."""

from jaxvision.commands.main import main

if __name__ == "__main__":
    main()

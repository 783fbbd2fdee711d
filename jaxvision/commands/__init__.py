"""`python -m jaxvision COMMAND`."""

"""Pure functions from arrays to arrays: no parameters, no Flax."""

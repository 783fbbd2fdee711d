"""Sets that are generated, embedded in a package, or made of signals."""

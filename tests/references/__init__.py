"""Short optimizers in NumPy, written from the equations: float64, one list of arrays, no speed."""

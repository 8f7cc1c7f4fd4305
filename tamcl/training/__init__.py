"""Training in one process: a cell, its parts, its run, and what is recorded of it."""

"""The tests; a package, so that another distribution's top-level `tests` is not imported in its place."""

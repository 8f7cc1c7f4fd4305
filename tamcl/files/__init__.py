"""Files that are written whole, notice damage and can be locked."""

"""Files as they land: which are there, which are new, which claims they hold, which are bad."""

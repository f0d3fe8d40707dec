"""Care of what runs have left: whole, well-cut partitions; what may go; what has to be erased."""

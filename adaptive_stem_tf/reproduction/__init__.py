"""The supplement's experiments: runs, results, and what is claimed of them."""

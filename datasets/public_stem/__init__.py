"""Public micrographs that the documented results are of: a manifest, and what collects them."""

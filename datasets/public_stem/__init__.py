"""The public micrographs behind the documented results: a manifest, and their download."""

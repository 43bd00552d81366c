"""What notebooks import, as `stem` of `import adaptive_stem_tf as stem` (docs/API.md)."""

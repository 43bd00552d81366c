"""The equal-dose benchmark: scans, completions, metrics, tables and pictures (METHOD section 9)."""

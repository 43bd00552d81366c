"""TFDS builders of the micrographs that scans are learned from, one folder per data set.

`datasets.load.load_split` returns a split as one array and builds the data set on first use.
"""

"""Warwick Electron Microscopy Datasets: experimental STEM micrographs, downloaded by hand."""

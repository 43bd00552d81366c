"""Trained models outside of training: exported as SavedModels."""

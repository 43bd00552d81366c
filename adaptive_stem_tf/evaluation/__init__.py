"""Evaluation: trained models, metrics, intervals and figures."""

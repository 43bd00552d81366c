"""Corrections of distorted scans: configuration, cycle learner, training and evaluation (METHOD
section 10).
"""

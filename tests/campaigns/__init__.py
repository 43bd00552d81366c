"""Faults by the thousand: each module is a command, `python -m tests.campaigns.NAME`.

Short forms run among the tests (`test_short.py`); docs/RELIABILITY.md has what was counted.
"""

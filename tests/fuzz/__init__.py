"""Hostile input, made by the million: one module per target, each with its properties in its first lines.

``python -m tests.fuzz NAME… --seconds N`` runs some, ``make fuzz`` all; ``test_short.py`` is the suite's short form.
"""

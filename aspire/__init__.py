"""ASPIRE: find the shortcuts an image classifier takes, and train them away.

Nothing heavy is imported here, so that ``aspire --help`` answers at once.
"""

__version__ = "0.1.0"

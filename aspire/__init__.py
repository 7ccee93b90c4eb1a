"""ASPIRE: find the shortcuts an image classifier takes, and train them away.

Nothing heavy is imported here, so that ``aspire --help`` answers at once.
"""

from aspire.version import __version__ as __version__

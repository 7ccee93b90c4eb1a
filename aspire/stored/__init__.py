"""What was kept and is read back. It is data, and checked before it is believed.

``config`` reads configurations that are in run folders, ``results`` their results, ``seals`` files
against the digests they were committed with, and ``leftovers`` takes away what kills have left.
"""

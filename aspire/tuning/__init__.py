"""Searches for a method's settings: what is tried, and a study that goes on where it was killed."""

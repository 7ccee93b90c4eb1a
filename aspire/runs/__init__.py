"""Runs on disk: who works on one, what becomes of a sweep, and what a finished one holds."""

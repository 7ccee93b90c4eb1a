"""Which features a classifier leans on: effects of edits, scores."""

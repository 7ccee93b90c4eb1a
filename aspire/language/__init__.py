"""Words: captioners, phrase extractors, scenes."""

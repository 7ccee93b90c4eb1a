"""Where the jobs of a sweep are worked off, ``hydra/launcher=``: one file a choice."""

"""What ``aspire new`` begins with: for each kind of choice a small one that works, and its test.

``KIND.py`` with a class ``Blank``, ``KIND.yaml`` and ``test_KIND.py`` make a kind. ``blank`` and
``Blank`` stand for the name, ``aspire.cli.templates.KIND`` for the new module.
"""

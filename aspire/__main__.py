"""``python -m aspire VERB``."""

from aspire.cli import main

raise SystemExit(main())

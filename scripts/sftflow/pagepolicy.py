"""What a browser may do with a page that is one file: run its own scripts and fetch nothing."""

from __future__ import annotations

import base64
import hashlib


def policy(*scripts: str) -> str:
    """Return a Content-Security-Policy under which these scripts run and nothing is fetched."""
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )

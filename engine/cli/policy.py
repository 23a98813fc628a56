"""What whoever runs this machine asks of every render on it, by its environment."""

import os


def consent_required() -> bool:
    """Whether FANTASYID_REQUIRE_CONSENT is set; to whatever but nothing and 0, as better one render is too few."""
    return os.environ.get("FANTASYID_REQUIRE_CONSENT", "") not in ("", "0")

"""How the store keeps what it keeps: plain functions on an open transaction, one file an idea; `Store` opens it."""

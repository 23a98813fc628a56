"""Addresses of the server: each reads what was asked, calls one verb and says what came of it."""

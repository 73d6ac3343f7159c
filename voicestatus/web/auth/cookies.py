"""Cookies as they are read and written. Pure.

Source: RFC 6265; draft-ietf-httpbis-rfc6265bis, 4.1.3.2 for the `__Host-` prefix.
"""

SESSION, SIGN_IN = "voicestatus-session", "voicestatus-sign-in"


def read(header: str, name: str, *, secure: bool) -> str | None:
    """Return the value of the one cookie of that name.

    None where several have it: one of them is somebody else's, and nobody can tell
    which.
    """
    pairs = (pair.strip(" \t").partition("=") for pair in header.split(";"))
    wanted = _full(name, secure=secure)
    values = [value for key, equals, value in pairs if equals and key == wanted]
    return values[0] if len(values) == 1 and values[0] else None


def write(name: str, value: str, *, secure: bool, max_age_s: float) -> str:
    """Make a `Set-Cookie` that scripts cannot read and that no other site sends."""
    return (
        f"{_full(name, secure=secure)}={value}; Path=/; Max-Age={max_age_s:.0f}; "
        f"HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    )


def clear(name: str, *, secure: bool) -> str:
    """Make a `Set-Cookie` that takes a cookie away."""
    return write(name, "", secure=secure, max_age_s=0)


def _full(name: str, *, secure: bool) -> str:
    # With the prefix a browser takes it from this very host and over TLS alone: not
    # from a neighbour below the same domain.
    return f"__Host-{name}" if secure else name

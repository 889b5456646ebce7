"""Who may see the pages: a browser on this machine that has the token.

The token comes in the printed URL, as with Jupyter, and stays in a cookie that no
script reads and no other site sends. The Host header is checked, as a name of another
site may lead to 127.0.0.1; so is the Origin, as another site may send forms here.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Gate:
    """The token of one start, and the addresses that the pages have.

    Attributes:
        port: where the server listens.
        token: what the printed URL carries.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers share cookies between the ports of a host."""
        return f"triton-kit-ui-{self.port}"

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{HOSTS[0]}:{self.port}/?token={self.token}"

    def knows(self, given: str | None) -> bool:
        """Compare a token in constant time."""
        return given is not None and hmac.compare_digest(
            given.encode("utf-8", "surrogatepass"), self.token.encode()
        )

    def refusal(self, *, method: str, host: str, origin: str | None) -> str | None:
        """Return why a request is refused whatever its token is; None if it is not."""
        allowed = [f"{name}:{self.port}" for name in HOSTS]
        if host.lower() not in allowed:
            return f"The request names the host {host!r}, not {allowed[0]}."
        if origin is None:
            if method in ("GET", "HEAD"):
                return None
            return "The request does not say which page it comes from (no Origin)."
        parts = urlsplit(origin)
        if parts.scheme != "http" or parts.netloc.lower() not in allowed:
            return f"The request comes from another site: {origin!r}."
        return None

"""A TCP server that does exactly what a test tells it, on a real socket."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress

WITHIN_S = 60.0


class Peer:
    """One accepted connection, as the script of a test sees it."""

    def __init__(self, connection):
        connection.settimeout(WITHIN_S)
        self.socket = connection

    def read_http(self):
        """Read one request with a Content-Length; None when the client hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += self.socket.recv(65536)
        return head, body

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        """Close as servers do: say so, and read what is on its way."""
        self.socket.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while self.socket.recv(65536):
                pass
        self.socket.close()

    def reset(self):
        """Close with a TCP reset instead of a farewell."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


@contextmanager
def serving(script):
    """Run `script(peer, index)` in a thread per connection; yield host and port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threads = []

    def run(connection, index):
        with connection, suppress(OSError):
            script(Peer(connection), index)

    def accept():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                thread = threading.Thread(target=run, args=(connection, len(threads)))
                threads.append(thread)
                thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(WITHIN_S)
        for thread in threads:
            thread.join(WITHIN_S)

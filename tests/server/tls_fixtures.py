"""Certificates of the test's own, and a proxy that speaks TLS before any server."""

import asyncio
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress


def make_certificate(folder, *, host="localhost"):
    """Return the paths of a self-signed certificate for `host`, and of its key."""
    certificate, key = folder / f"{host}.pem", folder / f"{host}.key"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    argv += ["-subj", f"/CN={host}", "-keyout", str(key), "-out", str(certificate)]
    argv += ["-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


_CA = """[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def make_expired_certificate(folder):
    """Return the paths of a certificate that was valid in January 2020, and its key."""
    _, key = make_certificate(folder, host="expired")
    config, request = folder / "ca.cnf", folder / "expired.csr"
    config.write_text(_CA.format(folder=folder))
    (folder / "index").touch()
    argv = ["openssl", "req", "-new", "-key", str(key), "-subj", "/CN=expired"]
    subprocess.run([*argv, "-out", str(request)], check=True, capture_output=True)
    certificate = folder / "expired-2020.pem"
    argv = ["openssl", "ca", "-config", str(config), "-selfsign", "-batch", "-notext"]
    argv += ["-keyfile", str(key), "-in", str(request), "-out", str(certificate)]
    argv += ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


def server_context(certificate, key, clients):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def tls_proxy(certificate, key, *, to_port, clients=None):
    """Speak TLS on a free port of localhost, in front of `to_port`; yields the port.

    With `clients`, a certificate that is its own authority, a client has to show it.
    """
    context = server_context(certificate, key, clients)
    loop = asyncio.new_event_loop()
    writers = []

    async def pump(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", to_port)
        writers.extend([writer, inner_writer])
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def start():
        return await asyncio.start_server(serve, "localhost", 0, ssl=context)

    async def stop():
        server.close()
        pumps = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for writer in writers:
            # Python 3.11 cannot abort a TLS transport that was closed twice.
            with suppress(AttributeError):
                writer.transport.abort()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 5)
        await loop.shutdown_asyncgens()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

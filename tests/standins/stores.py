"""Places where drops lie: S3 by moto's server and SFTP by asyncssh's, both on loopback, and a folder here."""

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh

PASSWORD = "canary-of-a-password"


class Store:
    """A place that files are put into. `source` is what the settings say of it."""

    source: dict[str, Any]

    def put(self, path: str, text: bytes | str, *, age_minutes: float = 0) -> None:
        raise NotImplementedError

    def remove(self, path: str) -> None:
        raise NotImplementedError


class Folder(Store):
    """A folder here, or what an SFTP server shows of it."""

    def __init__(self, root: Path, **source: Any) -> None:
        self.root, self.source = root, source or {"path": root}
        root.mkdir(parents=True, exist_ok=True)

    def put(self, path: str, text: bytes | str, *, age_minutes: float = 0) -> None:
        at = self.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(text if isinstance(text, bytes) else text.encode())
        if age_minutes:
            then = at.stat().st_mtime - age_minutes * 60
            os.utime(at, (then, then))

    def remove(self, path: str) -> None:
        (self.root / path).unlink()


class Bucket(Store):
    """A bucket of moto's S3; its files are as old as the put."""

    def __init__(self, fs: Any, **source: Any) -> None:
        self.fs, self.source = fs, source

    def put(self, path: str, text: bytes | str, *, age_minutes: float = 0) -> None:
        self.fs.pipe(f"drops/crm/{path}", text if isinstance(text, bytes) else text.encode())

    def remove(self, path: str) -> None:
        self.fs.rm(f"drops/crm/{path}")


@contextmanager
def s3() -> Iterator[Bucket]:
    import logging

    import httpx
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    try:
        httpx.post(f"{endpoint}/moto-api/reset")  # moto's state outlives its servers
        fs = s3fs.S3FileSystem(
            key="k",
            secret=PASSWORD,
            endpoint_url=endpoint,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        fs.mkdir("drops")
        access = {
            "login": "k",
            "password": PASSWORD,
            "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
        }
        yield Bucket(fs, url="s3://drops/crm", access=access)
    finally:
        type(fs).close_session(fs.loop, fs._s3)
        server.stop()
        _sweep()


def _sweep() -> None:
    """What the libraries' servers leave open of connections that were kept alive is no leak of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class _Door(asyncssh.SSHServer):
    def __init__(self, guests: list[asyncssh.SSHServerConnection]) -> None:
        self._guests = guests

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._guests.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("reader", PASSWORD)


@contextmanager
def sftp(root: Path) -> Iterator[Folder]:
    """An SFTP server of a folder; its host key is in the source's access."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    guests: list[asyncssh.SSHServerConnection] = []

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def shown(channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(root))

    async def listen() -> Any:
        return await asyncssh.create_server(
            lambda: _Door(guests), "127.0.0.1", 0, server_host_keys=[key], sftp_factory=shown, allow_scp=False
        )

    async def shut() -> None:
        server.close()
        for guest in guests:
            guest.abort()
        await asyncio.gather(*(guest.wait_closed() for guest in guests))

    server = run(listen())
    port = server.sockets[0].getsockname()[1]
    public = key.export_public_key().decode().split()
    extra = {"host_key": public[1]}
    access = {"port": port, "login": "reader", "password": PASSWORD, "extra": extra}
    try:
        yield Folder(root / "crm", url="sftp://127.0.0.1/crm", access=access)
    finally:
        run(shut())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        _sweep()

"""A client as small as the protocol allows: to hold ten thousand sessions, or to read and write
faster than libpq does. Blocking sockets; asyncio where many are busy at once."""

import asyncio
import socket
import ssl
import struct

_TRUST_ANYONE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TRUST_ANYONE.check_hostname = False
_TRUST_ANYONE.verify_mode = ssl.CERT_NONE

READY_IDLE = b"Z\x00\x00\x00\x05I"
_PIECE = 256 << 10


class Refused(Exception):
    """The server said ErrorResponse."""

    def __init__(self, body):
        fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
        super().__init__(fields.get(b"C", b"?").decode(), fields.get(b"M", b"?").decode())


def message(tag, body):
    return tag + struct.pack("!i", len(body) + 4) + body


def query(sql):
    return message(b"Q", sql.encode() + b"\0")


def startup(target):
    pairs = {"user": target.user, "database": target.database}
    if target.options:
        pairs["options"] = target.options
    body = struct.pack("!i", 196608)
    body += b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in pairs.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def password(target):
    return message(b"p", target.password.encode() + b"\0")


class Client:
    """One session over a blocking socket."""

    def __init__(self, target):
        self.target = target
        self.socket = socket.create_connection((target.host, target.port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls:
            self.socket.sendall(struct.pack("!ii", 8, 80877103))
            if self.socket.recv(1) != b"S":
                raise RuntimeError("no TLS there")
            self.socket = _TRUST_ANYONE.wrap_socket(self.socket)
        self.socket.sendall(startup(target))
        while True:
            tag, body = self.read()
            if tag == b"R" and struct.unpack("!i", body[:4])[0] == 3:
                self.socket.sendall(password(target))
            elif tag == b"Z":
                return

    def read(self):
        """One message. An ErrorResponse is raised."""
        head = self._exactly(5)
        body = self._exactly(struct.unpack("!i", head[1:])[0] - 4)
        if head[:1] == b"E":
            raise Refused(body)
        return head[:1], body

    def _exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            piece = self.socket.recv(count - len(parts))
            if not piece:
                raise EOFError("the server closed the connection")
            parts += piece
        return bytes(parts)

    def ask(self, sql):
        """The first column of each row, as text."""
        self.socket.sendall(query(sql))
        rows = []
        while True:
            tag, body = self.read()
            if tag == b"D":
                length = struct.unpack("!i", body[2:6])[0]
                rows.append(None if length < 0 else body[6:6 + length].decode())
            elif tag == b"Z":
                return rows

    def drain(self, sql):
        """Runs a query whose answer is only counted: bytes up to ReadyForQuery."""
        self.socket.sendall(query(sql))
        room, end, total = memoryview(bytearray(_PIECE)), b"", 0
        while True:
            n = self.socket.recv_into(room)
            if n == 0:
                raise EOFError("the server closed the connection")
            total += n
            end = (end + bytes(room[max(0, n - 6):n]))[-6:]
            if end == READY_IDLE:
                return total

    def copy_in(self, sql, piece, times):
        """COPY … FROM STDIN of `piece`, `times` over."""
        self.socket.sendall(query(sql))
        tag, _ = self.read()
        assert tag == b"G", tag
        data = message(b"d", piece)
        for _ in range(times):
            self.socket.sendall(data)
        self.socket.sendall(message(b"c", b""))
        while True:
            tag, body = self.read()
            if tag == b"C":
                done = body
            elif tag == b"Z":
                return int(done.rstrip(b"\0").split()[-1])

    def close(self):
        try:
            self.socket.sendall(message(b"X", b""))
        except OSError:
            pass
        self.socket.close()


class Busy:
    """One session among many busy ones, on asyncio."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.lock = reader, writer, asyncio.Lock()

    @classmethod
    async def open(cls, target):
        reader, writer = await asyncio.open_connection(target.host, target.port, limit=1 << 16)
        one = cls(reader, writer)
        writer.write(startup(target))
        while True:
            tag, body = await one._read()
            if tag == b"R" and struct.unpack("!i", body[:4])[0] == 3:
                writer.write(password(target))
            elif tag == b"Z":
                return one

    async def _read(self):
        head = await self.reader.readexactly(5)
        body = await self.reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
        if head[:1] == b"E":
            raise Refused(body)
        return head[:1], body

    async def ask(self, sql):
        """The first column of the last row, as text."""
        self.writer.write(query(sql))
        value = None
        while True:
            tag, body = await self._read()
            if tag == b"D":
                length = struct.unpack("!i", body[2:6])[0]
                value = body[6:6 + length].decode()
            elif tag == b"Z":
                return value

    def close(self):
        self.writer.write(message(b"X", b""))
        self.writer.close()

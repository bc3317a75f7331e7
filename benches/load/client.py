"""HTTP/1.1 by asyncio alone: a request as bytes, and its answer read whole."""

import asyncio
import contextlib
import json
from collections import deque
from dataclasses import dataclass

LONGEST_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class NoAnswer(Exception):
    """Why there was none."""


class Client:
    """Requests to one server, each on a connection of its own while it lasts; those at rest are used again."""

    def __init__(self, address: str):
        self.host, self.port = address.rsplit(":", 1)
        self.idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def ask(self, method: str, path: str, body: dict | None = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await self.exchange(head.encode() + content)
        except TimeoutError:
            raise NoAnswer(f"none within {LONGEST_SECONDS} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from None

    async def exchange(self, request: bytes) -> Answer:
        while self.idle:
            reader, writer = self.idle.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
                continue
            break
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        kept = False
        try:
            writer.write(request)
            answer = await read(reader)
            kept = answer.headers.get("connection") != "close"
        finally:
            if kept:
                self.idle.append((reader, writer))
            else:
                writer.close()
        return answer

    async def close(self) -> None:
        for _, writer in self.idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.idle.clear()


async def read(reader: asyncio.StreamReader) -> Answer:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        body = b"".join(parts)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split(" ")[1]), headers, body)

"""A next hop that thinks about every reply: ``python -m tools.benchslow PORT SECONDS``, until it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def serve(port: int, pause_s: float) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(text: str) -> None:
            await asyncio.sleep(pause_s)
            writer.write(f"{text}\r\n".encode())

        with contextlib.suppress(OSError), contextlib.closing(writer):
            await say("220 slow.test ESMTP")
            while line := (await reader.readline()).upper():
                if line.startswith(b"EHLO"):
                    await say("250 slow.test")
                elif line.startswith(b"DATA"):
                    await say("354 Go on")
                    await reader.readuntil(b"\r\n.\r\n")
                    await say("250 2.0.0 Ok")
                elif line.startswith(b"QUIT"):
                    await say("221 2.0.0 Bye")
                    return
                else:
                    await say("250 2.0.0 Ok")

    server = await asyncio.start_server(converse, "127.0.0.1", port, limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))

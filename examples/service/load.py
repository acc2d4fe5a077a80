"""Load on a service: ``python load.py --row 5.1 3.5 1.4 0.2``.

Each connection is a process that sends the same request over and over. It reads no more of an
answer than its length, so that the client takes little of the time that is measured.
"""

import argparse
import json
import multiprocessing
import socket
import time


def requests(host: str, port: int, body: str, until: float) -> tuple[list[float], int]:
    """Send requests on one connection; return the seconds of each, and how many failed."""
    request = (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    seconds, failed = [], 0
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.time() < until:
            start = time.perf_counter()
            connection.sendall(request)
            failed += answer(connection) != 200
            seconds.append(time.perf_counter() - start)
    return seconds, failed


def answer(connection: socket.socket) -> int:
    """Read an answer; return its status."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (part := connection.recv(65536)):
            raise ConnectionError("the service closed the connection")
        received += part
    head, _, content = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(content) < length:
        content += connection.recv(65536)
    return int(head.split(b" ", 2)[1])


def main() -> None:
    """Print latencies, requests per second and errors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--row", type=float, nargs="+", required=True, metavar="NUMBER")
    options = parser.parse_args()
    body = json.dumps({"x": options.row})
    until = time.time() + options.seconds
    arguments = (options.host, options.port, body, until)
    with multiprocessing.Pool(options.connections) as pool:
        results = pool.starmap(requests, [arguments] * options.connections, chunksize=1)
    seconds = sorted(value for each, _ in results for value in each)
    for share in (50, 99):
        print(f"p{share} {1000 * seconds[len(seconds) * share // 100]:.2f} ms")
    print(f"{len(seconds) / options.seconds:,.0f} requests a second")
    print(f"{sum(failed for _, failed in results)} errors in {len(seconds):,} requests")


if __name__ == "__main__":
    main()

"""A server on the loopback that knows ranges, can break off, and can be slow."""

import io
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``; breaks off after ``server.cut`` bytes, answers ranges if ``server.ranges``."""

    def do_GET(self):
        body = self.server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        wanted = self.headers.get("Range") if self.server.ranges else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.server.asked.append(start)
        if wanted and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.server.cut if self.server.cut else len(body)
        try:
            for at in range(start, end, self.server.block):
                self.wfile.write(body[at : min(at + self.server.block, end)])
                time.sleep(self.server.pause)
        except ConnectionError:  # who asked was killed
            pass

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """On a free port; `files` maps paths to bytes. A `pause` in seconds follows each `block` of bytes."""

    def __init__(self, files: dict[str, bytes], block: int = 1 << 30, pause: float = 0.0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges, self.asked = files, None, True, []
        self.block, self.pause = block, pause
        self.url = f"http://127.0.0.1:{self.server_port}"


def archive(files: dict) -> bytes:
    """The bytes of a zip with these names and contents."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as content:
        for name, text in files.items():
            content.writestr(name, text)
    return data.getvalue()

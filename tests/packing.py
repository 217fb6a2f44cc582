"""Archives in every format, and a web server that breaks off when it is told to."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

FORMATS = ('zip', 'tar', 'tar.gz', 'folder')


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """An archive, or a folder where ``path`` has no suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    elif '.tar' in path.name:
        with tarfile.open(path, 'w:gz' if path.suffix == '.gz' else 'w') as archive:
            for name, content in members.items():
                archive.addfile(tar_member(name, size=len(content)), io.BytesIO(content))
    else:
        for name, content in members.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, leads_to: str = '', size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, leads_to, size
    return info


def image(color: int, file_format: str) -> bytes:
    """An image of 6x4 pixels, or a palette mask of the label ``color``."""
    out = io.BytesIO()
    drawn = Image.new('P' if file_format == 'PNG' else 'RGB', (6, 4), color)
    if file_format == 'PNG':
        drawn.putpalette(range(256))
    drawn.save(out, file_format)
    return out.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


@dataclass
class Served:
    """A file on a local server, and how the server treats those who ask for it.

    Attributes:
        cuts: the connection ends after so many bytes of an answer, one entry an answer; then answers are whole.
        codes: what is answered in place of the file, one entry an answer.
        etag, modified: headers, empty for none.
        ranges: the server knows ``Range``.
        if_range: and ``If-Range``.
        asked: headers of the requests that came.
    """

    content: bytes
    url: str = ''
    cuts: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    etag: str = '"one"'
    modified: str = ''
    ranges: bool = True
    if_range: bool = True
    kind: str = 'application/octet-stream'
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(dict(self.headers))
            if served.codes:
                self.send_error(served.codes.pop(0))
                return
            first, wanted = 0, self.headers.get('Range')
            same = self.headers.get('If-Range') in (served.etag, served.modified) or not served.if_range
            if wanted and served.ranges and same:
                first = int(wanted.removeprefix('bytes=').removesuffix('-'))
                if first >= len(served.content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header('Content-Range', f'bytes {first}-{len(served.content) - 1}/{len(served.content)}')
            else:
                self.send_response(200)
            body = served.content[first:]
            for key, value in (('ETag', served.etag), ('Last-Modified', served.modified)):
                if value:
                    self.send_header(key, value)
            self.send_header('Content-Type', served.kind)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            body = body[: served.cuts.pop(0)] if served.cuts else body
            with suppress(ConnectionError):  # of those who do not want it
                self.wfile.write(body)
            served.sent += len(body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    served.url = f'http://127.0.0.1:{server.server_address[1]}/archive.zip'
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


JPEG, PNG = image(9, 'JPEG'), image(3, 'PNG')


def voc_members(names: list[str]) -> dict[str, bytes]:
    """The official archive in small: also training images, boxes, other lists."""
    root, train = 'VOCdevkit/VOC2012', ['2007_000001', '2007_000002']
    members = {f'{root}/ImageSets/Segmentation/val.txt': ''.join(f'{name}\n' for name in names).encode()}
    members[f'{root}/ImageSets/Segmentation/train.txt'] = '\n'.join(train).encode()
    for name in names + train:
        members[f'{root}/JPEGImages/{name}.jpg'] = JPEG
        members[f'{root}/SegmentationClass/{name}.png'] = PNG
        members[f'{root}/SegmentationObject/{name}.png'] = PNG
        members[f'{root}/Annotations/{name}.xml'] = b'<annotation/>'
    return members


def voc_layout(names: list[str]) -> dict[str, bytes]:
    """What the benchmarks need of it, below the data root."""
    listed = ('JPEGImages', 'SegmentationClass')
    members = voc_members(names)
    val = 'VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt'
    kept = {
        path for path in members for folder in listed if Path(path).parent.name == folder and Path(path).stem in names
    }
    return {path: members[path] for path in kept} | {val: members[val]}

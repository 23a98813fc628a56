"""A stand-in for the hub: an HTTP server on this machine that answers the real client as huggingface.co does.

    GET  /api/models/REPOSITORY/revision/REVISION?blobs=true    commit, and files with size, git blob id, LFS digest
    GET  /REPOSITORY/resolve/COMMIT/FILE                        small files; those in LFS are elsewhere (302)
    GET  /lfs/DIGEST                                            the same server by another name, as the hub's CDN is

`requests` records what was asked for. `faults` say what goes wrong next, by file; `altered` what the listing says
instead.
"""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

REPOSITORY = "acvlab/FantasyID"


@dataclass(frozen=True)
class Request:
    """`file` is a path of the repository, or "" for the listing."""

    file: str
    range: str | None
    token: str | None
    path: str


@dataclass(frozen=True)
class Fault:
    """An answer with another `status`, or cut after so many bytes, or `held` there, or with other `content`."""

    status: int | None = None
    code: str | None = None
    cut: int | None = None
    held: bool = False
    content: bytes | None = None


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


@dataclass
class Hub:
    """A repository with branches; each commit is a whole set of files."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: defaultdict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    in_lfs: int = 4096
    altered: dict[str, Any] = field(default_factory=dict)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        digests = [(name, git_blob(data)) for name, data in sorted(files.items())]
        name = hashlib.sha1(repr((len(self.commits), digests)).encode()).hexdigest()
        self.commits[name], self.branches[branch] = dict(files), name
        return name

    def asked_for(self, file: str) -> list[Request]:
        """The requests for the bytes of a file."""
        found = [request for request in self.requests if request.file == file]
        redirected = any(request.path.startswith("/lfs/") for request in found)
        return [request for request in found if not redirected or request.path.startswith("/lfs/")]

    def listing(self, commit: str) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for name, data in self.commits[commit].items():
            row: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_blob(data)}
            if len(data) >= self.in_lfs:
                row["blobId"] = git_blob(b"a pointer to " + name.encode())
                row["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 130}
            siblings.append(row)
        return {"id": REPOSITORY, "sha": commit, "private": False, "tags": [], "siblings": siblings} | self.altered


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            where = path.removeprefix(f"/{REPOSITORY}/resolve/")
            if path.startswith(f"/api/models/{REPOSITORY}/revision/"):
                self.list_files(path)
            elif where != path:
                commit, _, file = where.partition("/")
                self.resolve(path, hub.branches.get(commit, commit), file)
            elif path.startswith("/lfs/"):
                every = {name: data for files in hub.commits.values() for name, data in files.items()}
                digest = path.removeprefix("/lfs/")
                file = next(name for name, data in every.items() if hashlib.sha256(data).hexdigest() == digest)
                self.record(path, file)
                self.give(file, every[file], {"ETag": f'"{digest}"'})
            else:
                self.record(path, "")
                self.refuse(404, "RepoNotFound")

        def record(self, path: str, file: str) -> None:
            headers = self.headers
            hub.requests.append(Request(file, headers.get("Range"), headers.get("Authorization"), path))

        def list_files(self, path: str) -> None:
            revision = path.rpartition("/revision/")[2]
            commit = hub.branches.get(revision, revision)
            self.record(path, "")
            if commit not in hub.commits and not hub.faults[""]:
                self.refuse(404, "RevisionNotFound")
            else:
                self.give("", json.dumps(hub.listing(commit)).encode() if commit in hub.commits else b"", {})

        def resolve(self, path: str, commit: str, file: str) -> None:
            self.record(path, file)
            data = hub.commits.get(commit, {}).get(file)
            if data is None:
                self.refuse(404, "EntryNotFound")
            elif len(data) >= hub.in_lfs:
                digest = hashlib.sha256(data).hexdigest()
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{hub.port}/lfs/{digest}")
                self.send_header("X-Repo-Commit", commit)
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(data)))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.give(file, data, {"ETag": f'"{git_blob(data)}"', "X-Repo-Commit": commit})

        def give(self, file: str, data: bytes, headers: dict[str, str]) -> None:
            fault = hub.faults[file].pop(0) if hub.faults[file] else Fault()
            if fault.status is not None:
                self.refuse(fault.status, fault.code)
                return
            data = data if fault.content is None else fault.content
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : fault.cut])
            if fault.held:
                self.wfile.flush()
                hub.held.set()
                hub.released.wait(60)
            if fault.cut is not None:
                self.close_connection = True

        def refuse(self, status: int, code: str | None) -> None:
            self.send_response(status)
            if code is not None:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed breaks its connection: nothing to report."""


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    server = Server(("127.0.0.1", 0), handler(hub))
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()

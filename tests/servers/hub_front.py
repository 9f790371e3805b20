"""nginx before a Hub: it answers for the files of one model as the real Hub does, and leaves its API to `hub.py`.

So a benchmark of many files measures the client and not Python. Redirects lead where those of the Hub lead: files of
LFS to a content network, which is the same nginx on another port, small files of Git to another path. No token is asked
for and no signature is checked: for that there is `hub.py`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tests.servers.closable import Closable
from tests.servers.process import Child, find_program, free_port, listening
from tests.servers.repository import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.repository import StoredFile

_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
_SIGNED = "Expires=4102444800&Signature=not-checked-0123456789abcdef0123456789abcdef&Key-Pair-Id=K0000000000000"
_CONFIGURATION = """
daemon off;
{user}
pid {state}/nginx.pid;
error_log {state}/error.log warn;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  absolute_redirect off;
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  access_log {state}/access.log;
  map_hash_max_size 131072;
  map_hash_bucket_size 256;
  map $file $tag {{ {tags} }}
  map $file $size {{ {sizes} }}
  map $file $in_lfs {{ {in_lfs} }}
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/{name}/resolve/(?:{revisions})/(?<file>.+)$ {{
      add_header X-Repo-Commit {commit};
      add_header X-Linked-Etag '"$tag"';
      add_header X-Linked-Size $size;
      if ($tag = "") {{ return 404; }}
      if ($in_lfs) {{ return 302 http://127.0.0.1:{network_port}/$tag/$file?{signed}; }}
      return 307 /api/resolve-cache/models/{name}/{commit}/$file?etag=%22$tag%22;
    }}
    location ~ ^/api/resolve-cache/models/{name}/{commit}/(?<file>.+)$ {{
      alias {state}/files/$file;
      default_type "text/plain; charset=utf-8";
      etag off;
      add_header ETag '"$tag"';
      add_header X-Repo-Commit {commit};
    }}
    location / {{
      proxy_pass {hub};
      proxy_set_header Host $http_host;
    }}
  }}
  server {{
    listen 127.0.0.1:{network_port};
    default_type application/octet-stream;
    location ~ ^/[0-9a-f]+/(?<file>.+)$ {{ alias {state}/files/$file; }}
  }}
}}
"""


class HubFront(Closable):
    """A running nginx; `endpoint` is what HF_ENDPOINT must be. What is committed later goes past it."""

    def __init__(self, hub: Hub, name: str, *, state: Path) -> None:
        """Serve the main branch of a model, whose names must be plain; `state` takes its files and nginx's own."""
        program = find_program("nginx", "nginx-light")
        repository = hub.repositories[Kind.MODEL, name]
        commit = repository.references["refs/heads/main"]
        tree = repository.commits[commit]
        for path, file in tree.items():
            if not _PLAIN.fullmatch(path):
                raise ValueError(f"{path!r} would have to be quoted for nginx")
            place = state / "files" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as content:
                content.writelines(file.blob.pieces())

        def table(value: Callable[[StoredFile], object]) -> str:
            return "\n".join(f"{path} {value(file)};" for path, file in tree.items())

        port, network_port = free_port(), free_port()
        configuration = state / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "",
                state=state,
                name=re.escape(name),
                commit=commit,
                revisions=f"main|{commit}",
                tags=table(lambda file: file.etag),
                sizes=table(lambda file: file.blob.size),
                in_lfs=table(lambda file: int(file.sha256 is not None)),
                port=port,
                network_port=network_port,
                signed=_SIGNED,
                hub=hub.endpoint,
            )
        )
        self.endpoint = f"http://127.0.0.1:{port}"
        self._child = Child([program, "-e", f"{state}/error.log", "-c", str(configuration)], folder=state)
        self._child.wait_until(lambda: listening(port) and listening(network_port))

    def close(self) -> None:
        self._child.close()

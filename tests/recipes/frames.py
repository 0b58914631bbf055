"""What stands around a configuration so that its proxy runs in the foreground and in a directory of its own.

Nothing here is of the recipes: it is what Debian's packages have in their other files (compression for example, which
they switch on), and where logs and temporary files go.
"""

from __future__ import annotations

import signal
from typing import NamedTuple


class Kind(NamedTuple):
    """How a proxy is started and ended. ``DIRECTORY/site`` is ``head`` and the configuration that is tried,
    ``DIRECTORY/main`` is ``frame``."""

    command: tuple[str, ...]
    frame: str = ""
    head: str = ""
    ending: int = signal.SIGTERM


_NGINX = """
user USER;
worker_processes 1;
error_log stderr;
events {}
http {
    gzip on;
    access_log off;
    include DIRECTORY/site;
}
"""

_NGINX_HEAD = """
client_body_temp_path DIRECTORY/body;
proxy_temp_path DIRECTORY/proxy;
fastcgi_temp_path DIRECTORY/fastcgi;
uwsgi_temp_path DIRECTORY/uwsgi;
scgi_temp_path DIRECTORY/scgi;
"""

_MODULES = """
authz_core authz_host deflate env filter headers http2 mime mpm_event proxy proxy_http proxy_wstunnel reqtimeout
setenvif socache_shmcb ssl
"""

_APACHE_MODULES = "\n".join(
    f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES.split()
)

DEBIAN_MPM = """StartServers 2
MinSpareThreads 25
MaxSpareThreads 75
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
"""

_APACHE = f"""
ServerRoot DIRECTORY
ServerName localhost
PidFile DIRECTORY/pid
DefaultRuntimeDir DIRECTORY
ErrorLog DIRECTORY/output
LogLevel warn
User www-data
Group www-data
Listen LISTEN
{_APACHE_MODULES}
TypesConfig /dev/null
{DEBIAN_MPM}RequestReadTimeout header=20-40,minrate=500
RequestReadTimeout body=10,minrate=500
AddOutputFilterByType DEFLATE text/html text/plain text/xml text/css text/javascript application/javascript
Include DIRECTORY/site
"""

_SQUID_HEAD = """
pid_filename none
pinger_enable off
access_log none
cache_log /dev/null
coredump_dir DIRECTORY
shutdown_lifetime 0 seconds
"""

KINDS = {
    "nginx": Kind(("nginx", "-c", "DIRECTORY/main", "-g", "daemon off; pid DIRECTORY/pid;"), _NGINX, _NGINX_HEAD),
    "haproxy": Kind(("haproxy", "-db", "-f", "DIRECTORY/site")),
    "apache": Kind(("apache2", "-D", "FOREGROUND", "-f", "DIRECTORY/main"), _APACHE),
    "varnish": Kind(
        (
            "varnishd",
            "-F",
            "-j",
            "none",
            "-n",
            "DIRECTORY/work",
            "-a",
            "LISTEN",
            "-s",
            "malloc,16m",
            "-f",
            "DIRECTORY/site",
        )
    ),
    "squid": Kind(
        ("squid", "-N", "-d", "1", "-n", "LISTEN_PORT", "-f", "DIRECTORY/site"), head=_SQUID_HEAD, ending=signal.SIGINT
    ),
}
"""By the name of the recipes' directory."""

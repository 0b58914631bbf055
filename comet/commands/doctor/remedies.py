"""How each fault is mended, in the words of the proxy at hand.

A row has what is true of any proxy, and what to write into those that are known. The trap: with two proxies in a row
the answer names the inner one, or both; then each of them is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from comet.commands.doctor.proxies import HAPROXY

COMMON = ("nginx", HAPROXY, "Apache")
"""Those that are spoken of when none is known."""


class Remedy(NamedTuple):
    """What to do about a fault: ``anywhere``, and in each proxy."""

    anywhere: str
    proxies: Mapping[str, str] = MappingProxyType({})
    closing: str = ""


REMEDIES: Mapping[str, Remedy] = {
    "held_back": Remedy(
        "let the proxy pass on what Comet writes at once, without collecting it",
        {
            "nginx": "nginx: 'proxy_buffering off;' in the location of Comet, or remove "
            "'proxy_ignore_headers X-Accel-Buffering', so that Comet's own X-Accel-Buffering: no is heeded",
            HAPROXY: "HAProxy: remove 'option http-buffer-request' and filters on the response",
            "Apache": "Apache: 'flushpackets=on' on the ProxyPass of Comet, and no filter on it (mod_deflate, "
            "mod_substitute)",
            "Varnish": "Varnish: return (pipe) in vcl_recv for a GET below /topics",
            "Squid": "Squid: no adaptation (ICAP, eCAP) and 'read_ahead_gap' as small as it goes for Comet",
            "Caddy": "Caddy: 'flush_interval -1' in the reverse_proxy of Comet",
            "Cloudflare": "Cloudflare: switch off features that rewrite the answer for this host",
            "IIS": 'IIS: responseBufferLimit="0" in Application Request Routing',
        },
    ),
    "compressed": Remedy(
        "do not compress streams: they are marked no-transform; each one costs the proxy some 256 KiB of memory, and "
        "a compressor that is not flushed keeps messages back",
        {
            "nginx": "nginx: 'gzip off;' in the location of Comet (and 'brotli off;' where that module is)",
            HAPROXY: "HAProxy: no 'compression algo' in the backend of Comet",
            "Apache": "Apache: 'SetEnv no-gzip 1' and 'SetEnv no-brotli 1' for Comet",
            "Varnish": "Varnish: 'set beresp.do_gzip = false;' for Comet",
            "Caddy": "Caddy: no 'encode' for Comet",
        },
    ),
    "late": Remedy(
        "let the proxy send small pieces at once",
        {
            HAPROXY: "HAProxy: 'option http-no-delay' in defaults, or in the frontend and the backend: without it a "
            "chunk may wait 200 ms for company",
            "nginx": "nginx: 'proxy_buffering off;', and 'tcp_nodelay on;' (the default). If something stands in front "
            "of nginx, look there: HAProxy wants 'option http-no-delay'",
            "Apache": "Apache: 'flushpackets=on' and no 'flushwait' on the ProxyPass of Comet",
            "Varnish": "Varnish: return (pipe) in vcl_recv for a GET below /topics",
        },
    ),
    "idle_cut": Remedy(
        "raise the proxy's timeout for a quiet connection well above the silence; or have Comet speak more often: "
        "start the daemon with a --silence that is shorter than the timeout",
        {
            "nginx": "nginx: 'proxy_read_timeout 90s;' in the location of Comet",
            HAPROXY: "HAProxy: 'timeout server 90s', 'timeout client 90s', and 'timeout tunnel 90s' for WebSockets",
            "Apache": "Apache: 'timeout=90' on the ProxyPass of Comet",
            "Varnish": "Varnish: .between_bytes_timeout = 90s and .first_byte_timeout = 90s in the backend, and the "
            "parameters pipe_timeout and send_timeout",
            "Squid": "Squid: 'read_timeout 90 seconds'",
            "AWS load balancer": "AWS: the attribute 'Idle timeout' of the load balancer, 90 seconds",
            "Envoy": "Envoy: 'timeout: 0s' on the route and 'stream_idle_timeout: 90s'",
            "Cloudflare": "Cloudflare ends what is quiet for 100 s",
        },
        "silence is 25 s unless --silence says otherwise, and a poll is held for up to 60 s",
    ),
    "no_heartbeat": Remedy(
        "the heartbeats are kept back by what also keeps messages back",
        {"nginx": "nginx: 'proxy_buffering off;' and 'gzip off;' in the location of Comet"},
    ),
    "upgrade": Remedy(
        "let the proxy pass on the upgrade to WebSocket, in HTTP/1.1; until then clients have to use another transport",
        {
            "nginx": "nginx: 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
            'proxy_set_header Connection "upgrade";\' in the location of Comet',
            HAPROXY: "HAProxy passes it on in 'mode http' by itself: look for 'http-request del-header upgrade', "
            "and at the proxy behind",
            "Apache": "Apache: 'upgrade=websocket' on the ProxyPass of Comet; before 2.4.47 mod_proxy_wstunnel",
            "Varnish": 'Varnish: in vcl_recv return (pipe) if req.http.upgrade ~ "(?i)websocket", and in vcl_pipe '
            "'set bereq.http.upgrade = req.http.upgrade; set bereq.http.connection = req.http.connection;'",
            "Squid": "Squid: 'http_upgrade_request_protocols WebSocket allow all'",
            "CloudFront": "CloudFront: forward the header fields Sec-WebSocket-*",
        },
    ),
    "cached": Remedy(
        "do not store the answers of Comet: they say no-store, and somebody ignores it",
        {
            "nginx": "nginx: 'proxy_cache off;' in the location of Comet, and no 'proxy_ignore_headers Cache-Control'",
            HAPROXY: "HAProxy: no 'http-request cache-use' in the backend of Comet",
            "Apache": "Apache: 'CacheDisable /' for Comet, and no 'CacheStoreNoStore On'",
            "Varnish": "Varnish: in vcl_recv return (pipe) for a GET below /topics, else return (pass); and no "
            "'set beresp.ttl'",
            "Squid": "Squid: 'cache deny all' for Comet, and no override in refresh_pattern",
            "Cloudflare": "Cloudflare: a cache rule 'Bypass cache' for this host",
        },
    ),
    "changed_type": Remedy(
        "leave Content-Type as it is: browsers read a stream by it",
        {"nginx": "nginx: no 'proxy_hide_header Content-Type' and no 'add_header Content-Type'"},
    ),
    "headers": Remedy(
        "leave Cache-Control as it is: without no-store somebody further on may keep the answer",
        {
            "nginx": "nginx: no 'proxy_hide_header Cache-Control', no 'expires'",
            HAPROXY: "HAProxy: no 'http-response set-header cache-control'",
            "Apache": "Apache: no 'Header set Cache-Control', no mod_expires for Comet",
        },
    ),
    "daemon_down": Remedy(
        "start the daemon (comet serve), and see that the proxy has its address and port right",
        {
            "nginx": "nginx: 'proxy_pass' names the daemon's HTTP port; its error log says what it tried",
            HAPROXY: "HAProxy: the 'server' line names the daemon's HTTP port; 'show stat' says what it thinks",
            "Apache": "Apache: the ProxyPass names the daemon's HTTP port; 'retry=0' has it try again at once",
            "Varnish": "Varnish: .host and .port of the backend; varnishlog says what it tried",
        },
    ),
    "wrong_prefix": Remedy(
        "take the prefix off before the request goes to Comet, or give clients the URL where Comet is",
        {
            "nginx": "nginx: 'location /push/ { proxy_pass http://127.0.0.1:7080/; }', both with the slash at the end",
            HAPROXY: "HAProxy: 'http-request replace-path /push/(.*) /\\1'",
            "Apache": "Apache: 'ProxyPass /push/ http://127.0.0.1:7080/', both with the slash at the end",
            "Varnish": 'Varnish: \'set req.url = regsub(req.url, "^/push/", "/");\'',
            "Caddy": "Caddy: 'handle_path /push/* { reverse_proxy 127.0.0.1:7080 }'",
        },
    ),
    "origin": Remedy(
        "pass on Host as the browser sent it, or list the origin: start the daemon with --origin ORIGIN",
        {
            "nginx": "nginx: 'proxy_set_header Host $http_host;' in the location of Comet",
            "Apache": "Apache: 'ProxyPreserveHost On'",
            "Squid": "Squid: 'cache_peer … forceddomain=' is not to be there",
        },
    ),
    "exposed": Remedy(
        "let only those read /stats and /metrics who should",
        {
            "nginx": "nginx: 'location ~ ^/(stats|metrics) { allow 10.0.0.0/8; deny all; proxy_pass …; }'",
            HAPROXY: "HAProxy: 'http-request deny if { path_beg /stats /metrics } !{ src 10.0.0.0/8 }'",
            "Apache": "Apache: '<LocationMatch \"^/(stats|metrics)\"> Require ip 10.0.0.0/8 </LocationMatch>'",
        },
    ),
    "http1": Remedy(
        "offer HTTP/2 to browsers: over HTTP/1.1 they open six connections to a host, and the seventh tab waits",
        {
            "nginx": "nginx: 'listen 443 ssl http2;' (from 1.25.1 on 'http2 on;')",
            HAPROXY: "HAProxy: 'alpn h2,http/1.1' on the bind line",
            "Apache": "Apache: its HTTP/2 answers six held responses of a connection at a time, too; put nginx or "
            "HAProxy in front",
            "Varnish": "Varnish: what speaks TLS in front of it offers h2, and it is started with '-p feature=+http2'",
        },
    ),
    "keep_alive": Remedy(
        "keep connections open between requests: each poll and each POST pays for a new one",
        {
            "nginx": "nginx: 'keepalive_timeout 75s;'",
            HAPROXY: "HAProxy: no 'option httpclose', and 'timeout http-keep-alive 75s'",
            "Apache": "Apache: 'KeepAlive On'",
        },
    ),
}


def mend(code: str, proxies: Iterable[str], **words: str) -> str:
    """What to do about the fault ``code`` where these ``proxies`` are, in a line and one more
    for each of them. ``words`` take the place of words
    in capitals."""
    remedy = REMEDIES[code]
    known = [remedy.proxies[proxy] for proxy in proxies if proxy in remedy.proxies]
    further = known or [remedy.proxies[proxy] for proxy in COMMON if proxy in remedy.proxies]
    text = "\n".join(filter(None, (remedy.anywhere, remedy.closing, *further)))
    for word, value in words.items():
        text = text.replace(word, value)
    return text

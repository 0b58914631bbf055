"""What an operator sees of a daemon: its log, its figures, and its own messages."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest
from prometheus_client.parser import text_string_to_metric_families

from comet.metrics import METRICS
from comet.transports import TRANSPORTS
from tests.daemons import ANYWHERE, ROOT, TWISTD, Daemon, environment, running, twistd
from tests.e2e.held import asked, asked_json, connected, publish, subscribe
from tests.e2e.tools import COMET, Running, begun, path_of, run
from tests.e2e.waiting import PATIENCE, until
from tests.recipes.documented import commands, shell

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b1m"


# -- the log ----------------------------------------------------------------------------------------------------------


def objects(program: Running) -> list[dict[str, Any]]:
    """The lines that it has written so far, each of which must be a JSON object."""
    return [json.loads(line) for line in program.out.decode().splitlines(keepends=True) if line.endswith("\n")]


def address(program: Running, word: str, mark: str) -> str:
    """Where a daemon with a JSON log listens: from the line that begins with ``word``, behind ``mark``."""
    program.until(f"{word}    ".encode())
    found = [each["text"] for each in objects(program) if each["text"].startswith(word)]
    return str(found[0]).rpartition(mark)[2].rstrip("/")


def test_json_lines() -> None:
    """With ``comet serve``, from twistd's first line to its last: one JSON object each, whatever peers send."""
    command = (*COMET, "serve", *ANYWHERE, "--log-format", "json", "--access-log", "all")
    with begun(*command, errors=subprocess.STDOUT) as program:
        http = address(program, "console", "http://")
        tcp = address(program, "publish", "--server ")
        target = f"/topics/a?access_token=s3cret&x={ESCAPES.replace(chr(27), '%1b')}"
        assert asked(http, "GET", target.replace("\x07", "%07").replace("\x9b", "%9b"))[0] == 400
        with connected(http) as connection:
            connection.sendall(f"GET /{ESCAPES} HTTP/1.1\r\nAuthorization : Bearer s3cret\r\n\r\n".encode("latin-1"))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400")
        with connected(tcp) as connection:
            connection.sendall(f"NO{ESCAPES}SUCH token=s3cret\r\n".encode("latin-1"))
            assert connection.recv(65_536).startswith(b"-ERR")
        publish(http, "a", "hello")
        program.process.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        lines = objects(program)
    assert lines[0]["text"].startswith("twistd ")
    assert lines[1]["text"].startswith("reactor class: ")
    assert lines[-1]["text"] == "Server Shut Down."
    assert all({"time", "level", "namespace", "text"} <= each.keys() for each in lines)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each["time"]) for each in lines)
    assert [each["status"] for each in lines if "status" in each] == [400, 201]
    assert len([each for each in lines if each["text"].startswith("refused ")]) == 2
    assert b"s3cret" not in program.out
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", program.out)
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(str(value) for each in lines for value in each.values()))


def test_human_lines() -> None:
    """Time and text, twistd's own lines among them; its chatter is left out."""
    with running() as daemon:
        assert asked(daemon.http, "GET", "/nowhere?token=s3cret")[0] == 401
        assert daemon.end() == 0
        until(lambda: "Server Shut Down" in daemon.log[-1], "the last line")
        log = daemon.log
    assert re.fullmatch(rf"{STAMP} twistd \S+ \(.*\) starting up\.\n", log[0])
    assert all(re.match(rf"{STAMP} ", line) for line in log)
    refused = rf"{STAMP} refused GET /nowhere\?token=\*\*\* of 127\.0\.0\.1:\d+: bad_token: .*\n"
    assert len([line for line in log if re.fullmatch(refused, line)]) == 1
    assert "starting on" not in "".join(log)
    assert "Starting factory" not in "".join(log)
    assert "Received SIGTERM" in "".join(log)


def test_a_flood_is_few_lines() -> None:
    """A browser that a page makes ask over and over fills no disk; how often it asked is told at the end."""
    with running("--log-level", "info") as daemon:
        for _ in range(40):
            assert asked(daemon.http, "GET", "/topics/a", Origin="https://evil.example")[0] == 403
        assert daemon.end() == 0
        until(lambda: "Server Shut Down" in daemon.log[-1], "the last line")
        lines = [line for line in daemon.log if "origin_refused" in line]
    assert len(lines) == 6
    assert lines[-1].endswith(" … and 35 more of these in 10 s: origin_refused\n")


def test_levels_and_silence(tmp_path: Path) -> None:
    """Only what is asked for is logged."""
    ended = twistd("-n", "--pidfile=", "comet", *ANYWHERE, "--log-level", "fatal")
    assert (ended.code, ended.err) == (
        1,
        "comet: --log-level: 'fatal' cannot be used: choose one of debug, info, warn, error\n",
    )
    with sought(tmp_path / "http", "--log-level", "error") as (process, http):
        assert asked(http, "GET", "/nowhere")[0] == 404
        process.terminate()
        assert process.communicate(timeout=PATIENCE)[0] == b""


@contextmanager
def sought(
    http: Path, *options: str, flags: tuple[str, ...] = (), **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A daemon whose log need not be read to know where it listens, which is at the path ``http``."""
    faces = ("--http", f"unix:{http}", "--tcp", "tcp:0:interface=127.0.0.1", "--handover", "none")
    command = [sys.executable, *TWISTD, "-n", "--pidfile=", *flags, "comet", *faces, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(**variables)
    ) as process:
        try:
            until(partial(answers, str(http)), "an answer")
            yield process, str(http)
        finally:
            process.kill()


def answers(http: str) -> bool:
    """Whether a daemon is there."""
    try:
        return asked(http, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def test_a_log_file(tmp_path: Path) -> None:
    """``--logfile`` names it, and SIGUSR1 begins a new one."""
    path = tmp_path / "comet.log"
    with sought(tmp_path / "http", "--log-format", "json", flags=("--logfile", str(path))) as (process, _):
        assert "console" in path.read_text()
        process.send_signal(signal.SIGUSR1)
        until((tmp_path / "comet.log.1").exists, "another file")
        process.terminate()
        assert process.communicate(timeout=PATIENCE)[0] == b""
        assert process.returncode == 0
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["text"] == "Server Shut Down."


def test_a_daemon_in_the_background(tmp_path: Path) -> None:
    """``twistd comet`` logs to ``twistd.log`` where it was started."""
    pid, log = tmp_path / "twistd.pid", tmp_path / "twistd.log"
    done = subprocess.run(
        [sys.executable, *TWISTD, f"--pidfile={pid}", "comet", *ANYWHERE],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    until(lambda: pid.exists() and "publish" in log.read_text(), "a daemon")
    process = int(pid.read_text())
    subprocess.run(["kill", str(process)], check=True)
    until(lambda: log.read_text().endswith("Server Shut Down.\n"), "its end")
    assert all(re.match(rf"{STAMP} ", line) for line in log.read_text().splitlines())


OBSERVER = """
from twisted.logger import ILogObserver
from zope.interface import provider

def made():
    @provider(ILogObserver)
    def observe(event):
        if event["log_namespace"].startswith("comet"):
            open({path!r}, "a").write(f"{{event['log_format']}}\\n")
    return observe
"""


def test_an_observer_of_ones_own(tmp_path: Path) -> None:
    """What is given with ``--logger`` goes before, and it is given events with structure."""
    path = tmp_path / "seen"
    (tmp_path / "mine.py").write_text(OBSERVER.format(path=str(path)))
    variables = {"PYTHONPATH": f"{environment()['PYTHONPATH']}:{tmp_path}"}
    with sought(tmp_path / "http", flags=("--logger", "mine.made"), **variables) as (process, http):
        asked(http, "GET", "/nowhere")
        process.terminate()
        assert process.communicate(timeout=PATIENCE)[0] == b""
    assert "refused {what} of {peer}: {code}: {detail}\n" in path.read_text()


def test_the_systems_log(tmp_path: Path) -> None:
    """``--syslog`` stays in force: nothing comes to the standard output."""
    with sought(tmp_path / "http", flags=("--syslog", "--prefix", "comet")) as (process, _):
        process.terminate()
        assert process.communicate(timeout=PATIENCE)[0] == b""
        assert process.returncode == 0


def request(target: str, transport: str) -> bytes:
    """A request that subscribes."""
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{upgrade * (transport == 'websocket')}\r\n".encode()


def test_the_log_can_be_changed_while_the_daemon_runs(tmp_path: Path) -> None:
    """SIGHUP: format, level and what is logged of requests are those of the settings file."""
    path = tmp_path / "comet.toml"
    path.write_text('access-log = "none"\n')
    with running("--config", str(path)) as daemon:
        assert asked(daemon.http, "GET", "/nowhere")[0] == 404
        path.write_text('access-log = "all"\nlog-format = "json"\n')
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "reloaded: access-log" in "".join(daemon.log), "the new settings")
        assert asked(daemon.http, "GET", "/healthz")[0] == 200
        until(lambda: "/healthz" in daemon.log[-1], "a request")
        assert json.loads(daemon.log[-1])["status"] == 200
        assert "/nowhere" not in "".join(daemon.log)


def test_every_transport_is_one_line_at_its_end() -> None:
    """With ``access-log all``: its path without secrets, its transport, how long it was held."""
    with running("--access-log", "all") as daemon:
        for transport in TRANSPORTS:
            with connected(daemon.http) as connection:
                connection.sendall(request(f"/topics/a?transport={transport.name}", transport.name))
                until(lambda: asked_json(daemon.http, "/stats")["subscriptions"], "a subscription")
            until(lambda: not asked_json(daemon.http, "/stats")["subscriptions"], "its end")
        assert daemon.end() == 0
        until(lambda: "Server Shut Down" in daemon.log[-1], "the last line")
        held = [line for line in daemon.log if "GET /topics/" in line]
    for transport, line in zip(TRANSPORTS, held, strict=True):
        status = {"websocket": "101", "poll": "499"}.get(transport.name, "200")
        name = "" if transport.name == "poll" else f" {transport.name}"
        assert re.search(
            rf" GET /topics/a\?transport={transport.name} {status}{name} \d+\.\d+ s 127\.0\.0\.1:\d+$", line
        )


# -- figures ----------------------------------------------------------------------------------------------------------


def exposed(daemon: Daemon) -> dict[tuple[str, str], float]:
    """What a strict reader finds at ``/metrics``, by name and label."""
    _, header, body = asked(daemon.http, "GET", "/metrics")
    assert header["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(body.decode()))
    assert {family.name for family in families} == {metric.exposed.removesuffix("_total") for metric in METRICS}
    found = [sample for family in families for sample in family.samples]
    return {(sample.name, "".join(sample.labels.values())): sample.value for sample in found}


def test_figures_of_a_daemon_at_work() -> None:
    """What was published, flushed, refused, and by whom it is held, is in the figures of a scrape."""
    with running() as daemon, ExitStack() as stack:
        held = [
            stack.enter_context(subscribe(daemon.http, f"/topics/a?transport={name}", name))
            for name in ("sse", "websocket", "stream")
        ]
        for number in range(10):
            publish(daemon.http, "a", str(number))
        for each in held:
            each.until_messages(10)
        asked(daemon.http, "GET", "/nowhere")
        with connected(daemon.tcp) as publisher:
            publisher.sendall(b"PUBLISH a x\r\n")
            assert publisher.recv(100) == b":3\r\n"
            found = exposed(daemon)
        assert found["comet_published_total", ""] == 11
        assert found["comet_delivered_total", "sse"] >= 10
        assert found["comet_live", "websocket"] == 1
        assert 1 <= found["comet_flush_seconds_count", ""] <= 11
        assert found["comet_refused_total", "not_found"] == 1
        assert found["comet_http_connections", ""] == 4
        assert found["comet_tcp_connections", ""] == 1
        assert found["comet_received_bytes_total", "tcp"] == 13
        assert found["process_open_fds", ""] >= 10
        stack.close()
        until(lambda: exposed(daemon)["comet_http_connections", ""] == 1, "all have gone")
        assert sum(value for (name, _), value in exposed(daemon).items() if name == "comet_live") == 0


def test_a_client_that_does_not_read_is_seen() -> None:
    """On real sockets: it is stuck, how far behind, and what will become of it; then it reads, and is live again."""
    target = "/topics/a?transport=stream"
    with running("--send-buffer", "8KiB") as daemon, subscribe(daemon.http, target, "stream") as held:
        for _ in range(100):
            publish(daemon.http, "a", "x" * 100_000)
        (found,) = asked_json(daemon.http, "/stats/streams?state=stuck&transport=stream&sort=behind")["streams"]
        assert found["behind"]["messages"] > 10
        assert found["behind"]["bytes"] == found["behind"]["messages"] * 100_000
        assert re.match(r"dropped in (59|60) s unless it reads \(stall\); then given pages", found["treatment"])
        assert asked_json(daemon.http, "/stats")["stuck"] == 1
        held.until_messages(100)
        until(lambda: asked_json(daemon.http, "/stats/streams")["streams"][0]["state"] == "live", "live again")


# -- $stats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [row.name for row in TRANSPORTS])
def test_reports_over_every_transport(daemon: Daemon, transport: str) -> None:
    """A client that subscribes to ``$stats/daemon`` gets the daemon's figures, over whichever transport."""
    with subscribe(daemon.http, f"/topics/$stats/daemon?transport={transport}", transport) as held:
        message = held.until_messages(1)[0]
    data = json.loads(message["payload"]) if "payload" in message else message["data"]
    assert data.keys() == asked_json(daemon.http, "/stats").keys()
    assert data["memory"] > 1_000_000


def test_reports_once_a_second() -> None:
    """And no longer than somebody listens."""
    with running() as daemon:
        with subscribe(daemon.http, "/topics/$stats/**?transport=sse", "sse") as held:
            times = [message["time"] for message in held.until_messages(10) if message["topic"] == "$stats/daemon"]
            assert all(0.5 < later - earlier < 2 for earlier, later in pairwise(times))
        until(lambda: not asked_json(daemon.http, "/stats")["subscriptions"], "its end")
        assert asked_json(daemon.http, "/stats")["published"] == 0


def test_nobody_publishes_reports(daemon: Daemon) -> None:
    """Neither over HTTP nor over TCP."""
    status, _, body = asked(daemon.http, "POST", "/topics/$stats/daemon", b"{}")
    assert (status, json.loads(body)["code"]) == (400, "bad_topic")
    with connected(daemon.tcp) as publisher:
        publisher.sendall(b"PUBLISH $stats/daemon {}\r\n")
        assert publisher.recv(1000).startswith(b"-ERR bad_topic")


# -- what the documentation says --------------------------------------------------------------------------------------

PAGE = "docs/monitoring.rst"
RECIPE = ROOT / "recipes/prometheus"
DIRECTLY = build_opener(ProxyHandler({}))
LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


def test_documented_commands(daemon: Daemon, tmp_path: Path) -> None:
    """Each command of the page does what it is shown for."""
    publish(daemon.http, "auction/7", "120")
    at_home = shell(daemon, tmp_path)
    found = {each.text: each.text for each in commands(PAGE)}
    serve, *others = found
    with begun(*COMET, *serve.split()[1:], *ANYWHERE) as program:
        address(program, "publish", "--server ")
    with subscribe(daemon.http, "/topics/a?transport=sse", "sse"):
        outputs = [at_home.run(each, 28 * ("--max-time" in each)) for each in others]
    whole, topics, oldest, slowest, reports, every = outputs
    assert json.loads(whole)["published"] >= 1
    assert [each["topic"] for each in json.loads(topics)["topics"]] == ["auction/7"]
    assert "sse" in [each["transport"] for each in json.loads(oldest)["streams"]]
    assert json.loads(slowest)["streams"] == []
    assert reports.count('"uptime"') == 2
    assert all(f"$stats/{topic}" in every for topic in ("daemon", "topics", "streams"))


def test_documented_members(daemon: Daemon) -> None:
    """What is on the page about the answers is in them, and the other way round."""
    page = (ROOT / PAGE).read_text()
    counted = {metric.name for metric in METRICS if metric.kind == "counter"}
    assert not [name for name in asked_json(daemon.http, "/stats") if f"``{name}``" not in page and name not in counted]
    with subscribe(daemon.http, "/topics/a?transport=sse", "sse"):
        stream = asked_json(daemon.http, "/stats/streams?transport=sse")["streams"][0]
    assert not [name for name in stream if f"``{name}``" not in page and name not in ("stream", "pattern_count")]


@contextmanager
def prometheus(directory: Path, daemon: Daemon) -> Iterator[str]:
    """Prometheus with the configuration of the page, but for the daemon's address and how often it asks."""
    for name in ("prometheus.yml", "comet-alerts.yml"):
        settings = (RECIPE / name).read_text()
        (directory / name).write_text(settings.replace("127.0.0.1:7080", daemon.http).replace("15s", "1s"))
    command = ("prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data")
    with begun(*command, "--web.listen-address=127.0.0.1:0", errors=subprocess.STDOUT) as program:
        address = until(lambda: LISTENING.findall(program.out.decode()), "an address")[0]
        until(lambda: asked(address, "GET", "/-/ready")[0] == 200, "Prometheus")
        yield address


def found_by(prometheus: str, query: str) -> list[Any]:
    """What a query finds now."""
    with DIRECTLY.open(f"http://{prometheus}/api/v1/query?{urlencode({'query': query})}", timeout=PATIENCE) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


def test_prometheus_and_the_dashboard(tmp_path: Path) -> None:
    """Prometheus takes the configuration and the alerts of the page; each query of the dashboard finds something, and
    nobody is woken for a daemon that is well."""
    checked = run(path_of("promtool"), "check", "config", str(RECIPE / "prometheus.yml"))
    assert checked.code == 0, checked.out + checked.err
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    with running() as daemon, subscribe(daemon.http, "/topics/a?transport=sse", "sse"):
        asked(daemon.http, "GET", "/nowhere")
        publish(daemon.http, "a", "hello")
        with prometheus(tmp_path, daemon) as address:
            until(lambda: found_by(address, "rate(comet_flush_seconds_count[10s])"), "two scrapes")
            for query in queries:
                asked_for = query.replace("$__rate_interval", "10s").replace("$job", "comet").replace("$instance", ".+")
                assert found_by(address, asked_for), query
            assert found_by(address, "ALERTS") == []

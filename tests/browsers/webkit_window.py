"""A browser of nothing but windows with WebKitGTK in them, which WebKitWebDriver drives: see ``webkit.py``.

Debian's own Python, which has the bindings, runs it: ``/usr/bin/python3 webkit_window.py SEEN light|dark``. The browser
that WebKitGTK brings would do, but for its toolbar, which keeps windows wider than a phone, and for its console and
requests, of which nobody hears. What is seen of each page is written to the file SEEN, an object of JSON a line: of
which view (they are counted), what kind, and what.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from typing import Any

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")

from gi.repository import Gdk, Gtk, WebKit2  # noqa: E402 - their versions have to be named before

TOLD = """(() => {
    const tell = (text) => webkit.messageHandlers.error.postMessage(text);
    const told = console.error;
    console.error = (...words) => {
        tell(words.map((word) => word?.stack ?? String(word)).join(" "));
        told.apply(console, words);
    };
    addEventListener("error", ({ target, message, error }) => {
        if (target === window) tell(`${message}\\n${error?.stack ?? ""}`);
    });
    addEventListener("unhandledrejection", ({ reason }) => tell(`${reason}\\n${reason?.stack ?? ""}`));
    addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile, lineNumber }) => {
        // How WebKit shows a text violates the policy of that text.
        const isOurs = document.contentType !== "text/plain" || effectiveDirective !== "style-src-attr";
        if (isOurs) tell(`violates ${effectiveDirective}: ${blockedURI} (${sourceFile}:${lineNumber})`);
    });
})()"""
"""What a page tells of itself: WebKit itself tells its console of violated policies, and nobody else."""


class Windows:
    """The windows, each with a stack of tabs of which one is shown."""

    def __init__(self, seen: str) -> None:
        self._numbers = count()
        self._seen = seen
        self._newest: Any = None
        self._context = WebKit2.WebContext.new_ephemeral()
        self._context.set_automation_allowed(True)
        self._context.connect("automation-started", self._started)

    def _started(self, _: Any, session: Any) -> None:
        application = WebKit2.ApplicationInfo()
        application.set_name("MiniBrowser")  # the name that selenium insists on
        application.set_version(1, 0, 0)
        session.set_application_info(application)
        session.connect("create-web-view::window", lambda _: self._view(self._window()))
        session.connect("create-web-view::tab", lambda _: self._view(self._newest))

    def _window(self) -> Any:
        self._newest = Gtk.Stack()
        window = Gtk.Window(default_width=1280, default_height=800)
        window.add(self._newest)
        # There is no window manager to give it the focus.
        window.connect("map-event", lambda shown, _: shown.get_window().focus(Gdk.CURRENT_TIME))
        window.show_all()
        return self._newest

    def _view(self, tabs: Any) -> Any:
        number = next(self._numbers)
        content = WebKit2.UserContentManager()
        top, start = WebKit2.UserContentInjectedFrames.TOP_FRAME, WebKit2.UserScriptInjectionTime.START
        content.add_script(WebKit2.UserScript.new(TOLD, top, start, None, None))
        view = WebKit2.WebView(
            web_context=self._context, user_content_manager=content, is_controlled_by_automation=True
        )
        for name in ("error", "show"):
            content.register_script_message_handler(name)
        content.connect("script-message-received::error", lambda _, said: self._tell(number, "error", text(said)))
        content.connect("script-message-received::show", lambda *_: tabs.set_visible_child(view))
        view.connect("load-changed", lambda _, stage: self._loading(number, stage))
        view.connect("resource-load-started", lambda _, resource, request: self._asked(number, resource, request))
        view.connect("close", lambda _: closed(tabs, view))
        tabs.add(view)
        tabs.show_all()
        tabs.set_visible_child(view)
        return view

    def _loading(self, number: int, stage: Any) -> None:
        if stage == WebKit2.LoadEvent.STARTED:
            self._tell(number, "began")

    def _asked(self, number: int, resource: Any, request: Any) -> None:
        url = request.get_uri()
        self._tell(number, "request", url)
        resource.connect("failed", lambda _, error: self._failed(number, url, error))
        resource.connect("finished", lambda found: self._finished(number, url, found))

    def _finished(self, number: int, url: str, resource: Any) -> None:
        response = resource.get_response()
        if response is not None and response.get_status_code() >= 400:
            self._tell(number, "error", f"{response.get_status_code()} {url}")

    def _failed(self, number: int, url: str, error: Any) -> None:
        if not error.matches(WebKit2.network_error_quark(), WebKit2.NetworkError.CANCELLED):
            self._tell(number, "failure", f"{error.message} {url}")

    def _tell(self, number: int, kind: str, what: str = "") -> None:
        with open(self._seen, "a", encoding="utf-8") as file:  # noqa: PTH123 - a line is appended, and is there
            file.write(json.dumps({"view": number, "kind": kind, "text": what}) + "\n")


def text(said: Any) -> str:
    """What a page has posted."""
    found: str = said.get_js_value().to_string()
    return found


def closed(tabs: Any, view: Any) -> None:
    """End the page, and its window with the last one."""
    view.destroy()
    if not tabs.get_children():
        tabs.get_toplevel().destroy()


if __name__ == "__main__":
    Gtk.Settings.get_default().set_property("gtk-application-prefer-dark-theme", sys.argv[2] == "dark")
    windows = Windows(sys.argv[1])
    Gtk.main()

// The console: what the daemon says of itself, what is published, and a box to publish from.
//
// Everything comes over one connection, which all tabs share: the daemon's reports under `$stats`, and the
// messages of the pattern that is looked at. Only the long lists are asked for now and then, while they are
// seen.
//
// The trap: what is shown was published by anybody. It becomes text nodes, never HTML.

import { Comet } from "./comet.mjs";
import { showConnection } from "./console/connection.js";
import { at } from "./console/elements.js";
import { showFigures } from "./console/figures.js";
import { offerPublishing } from "./console/publish.js";
import { showStreams } from "./console/streams.js";
import { showTail } from "./console/tail.js";
import { chooseTheme } from "./console/theme.js";
import { token } from "./console/token.js";
import { showTopics } from "./console/topics.js";

// Below whichever path the daemon is served, this script is in its root.
const home = new URL("./", import.meta.url);
const tcpPort = document.documentElement.dataset.tcpPort;
const daemon = {
  home,
  tcp: tcpPort ? { host: location.hostname.replace(/^\[|\]$/g, ""), port: tcpPort } : null,
};

const comet = new Comet(home, token === null ? {} : { token: () => token });
const tail = showTail(comet, daemon);

chooseTheme();
showConnection(comet);
showFigures(comet);
showTopics(comet, daemon, tail);
showStreams(comet, daemon, tail);
offerPublishing(comet, daemon);

// The address keeps what is tailed: a jump within the page must not change it.
for (const link of document.querySelectorAll(".skip"))
  link.addEventListener("click", (click) => {
    click.preventDefault();
    at(link.hash.slice(1)).focus();
  });

// The live tail of a pattern: what is asked for, by the form and by the page's address.

import { publishing, subscribing } from "./commands.js";
import { plain } from "./content.js";
import { offerCommands } from "./copying.js";
import { at, say } from "./elements.js";
import { place, setPlace } from "./place.js";
import { View } from "./view.js";

/** Show the tail that the page's address names. Returns what shows that of another pattern. */
export function showTail(comet, daemon) {
  const view = new View();
  const showCommands = offerCommands(at("tail-commands"), "Subscribe by");
  const offer = () => showCommands(subscribing(daemon, filled()));
  let subscription;

  const take = (message) => view.add({ message, text: plain(message.data) });

  function show(wanted) {
    try {
      const next = comet.subscribe(wanted.pattern, take, { since: wanted.since });
      subscription?.close();
      subscription = next;
    } catch (error) {
      at("pattern").setCustomValidity(error.message);
      at("pattern").reportValidity();
      return;
    }
    view.begin(wanted.pattern);
    view.only(wanted.filter);
    say(at("example"), example(daemon, wanted.pattern));
    fillIn(wanted);
    setPlace(wanted);
    offer();
  }

  at("tail-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    show(filled());
  });
  at("tail-form").addEventListener("input", () => {
    at("pattern").setCustomValidity("");
    offer();
  });
  at("filter").addEventListener("input", () => {
    setPlace({ ...place(), filter: at("filter").value });
    view.only(at("filter").value);
  });
  at("pause").addEventListener("click", () => {
    view.pause(!view.paused);
    say(at("pause"), view.paused ? "Resume" : "Pause");
  });
  at("clear").addEventListener("click", () => view.begin(view.pattern));
  addEventListener("hashchange", () => show(place()));
  comet.on("gap", (gap) => {
    if (gap.topics.includes(view.pattern)) view.add({ gap: true, text: told(gap) });
  });
  show(place());
  return (pattern) => show({ ...filled(), pattern });
}

const told = ({ since, until }) =>
  `Messages after ${since}, up to ${until}, may be missing: the daemon did not keep them.`;

const filled = () => ({
  pattern: at("pattern").value,
  since: at("since").value,
  filter: at("filter").value,
});

function fillIn({ pattern, since, filter }) {
  at("pattern").value = pattern;
  at("filter").value = filter;
  // An address can name a position, too.
  if (![...at("since").options].some(({ value }) => value === since)) at("since").append(new Option(since));
  at("since").value = since;
}

/** A command that publishes something that `pattern` matches. */
function example(daemon, pattern) {
  if (pattern.startsWith("$")) return "# The daemon itself publishes here.";
  const segments = pattern.split("/").map((segment) => (/^\*+$/.test(segment) ? "news" : segment));
  return publishing(daemon, { topic: segments.join("/"), data: "hello" })[0].text;
}

// Topics: the busiest, as the daemon reports them each second, and others, which it lists when it is asked.
//
// A daemon can have a hundred thousand topics. Only some are ever here; the filter asks for those that begin
// like it.

import { bytes, count, many, rate } from "./amounts.js";
import { at, element, say, showRows } from "./elements.js";
import { listed, whileSeen } from "./polling.js";

const SHOWN = 100;

/** Seconds from one list to the next. */
const PERIOD = 4;

/** How much of a topic's rank is its newest rate: topics of about the same one keep their places. */
const NEW = 0.3;

/** Show the topics; one that is clicked is given to `tail`. */
export function showTopics(comet, daemon, tail) {
  const section = at("topics");
  const body = section.querySelector("tbody");
  const ranks = new Map();
  let busiest = [];
  let others = { topics: [], more: false };
  let total = 0;

  const rowsOf = {
    key: (topic) => topic.topic,
    make: () => row(tail),
    fill,
  };

  async function ask() {
    const prefix = at("prefix").value;
    const found = await listed(daemon.home, "stats/topics", { limit: SHOWN, prefix });
    if (!found || prefix !== at("prefix").value) return;
    others = found;
    draw();
  }

  function take({ data }) {
    busiest = data.topics;
    const rates = new Map(busiest.map((topic) => [topic.topic, topic.published]));
    for (const name of new Set([...ranks.keys(), ...rates.keys()])) {
      const rank = (1 - NEW) * (ranks.get(name) ?? 0) + NEW * (rates.get(name) ?? 0);
      if (rank > 0.01) ranks.set(name, rank);
      else ranks.delete(name);
    }
    draw();
  }

  function draw() {
    const prefix = at("prefix").value;
    const found = new Map(
      others.topics.map((topic) => [topic.topic, { published: 0, published_bytes: 0, ...topic }]),
    );
    for (const topic of busiest) if (topic.topic.startsWith(prefix)) found.set(topic.topic, topic);
    const rank = ({ topic }) => ranks.get(topic) ?? 0;
    const inOrder = [...found.values()].sort(
      (one, other) => rank(other) - rank(one) || one.topic.localeCompare(other.topic),
    );
    showRows(body, inOrder.slice(0, SHOWN), rowsOf);
    say(
      section.querySelector(".below"),
      summary(Math.min(found.size, SHOWN), others.more || found.size > SHOWN, total, prefix),
    );
  }

  const askNow = whileSeen(section, PERIOD, ask);
  at("prefix").addEventListener("input", () => {
    others = {
      topics: others.topics.filter(({ topic }) => topic.startsWith(at("prefix").value)),
      more: true,
    };
    draw();
    askNow();
  });
  comet.subscribe("$stats/topics", take);
  comet.subscribe("$stats/daemon", ({ data }) => (total = data.topics));
}

function summary(shown, isMore, total, prefix) {
  if (!shown) return prefix ? `No topic begins with “${prefix}”.` : "No topic has messages yet: publish one.";
  if (!isMore) return many(shown, "topic");
  const all = prefix ? "more" : count(Math.max(total, shown));
  return `${count(shown)} of ${all} topics. Type how a name begins to find others.`;
}

function row(tail) {
  const name = element("button", { type: "button", class: "plain topic", title: "show its messages" });
  name.addEventListener("click", () => tail(name.textContent));
  const made = element("tr", {}, element("td", {}, name));
  for (const kind of ["number", "number less", "number", "number"])
    made.append(element("td", { class: kind }));
  return made;
}

function fill(made, { topic, published, published_bytes: publishedBytes, retained, subscribers }) {
  const [name, ...numbers] = made.children;
  say(name.firstElementChild, topic);
  const texts = [
    published ? rate(published) : "",
    publishedBytes ? bytes(publishedBytes) : "",
    count(retained),
    count(subscribers),
  ];
  texts.forEach((text, place) => say(numbers[place], text));
  made.classList.toggle("busy", published > 0);
}

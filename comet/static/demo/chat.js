// A chat with history. What is said in a room are the messages of a topic, and the page only draws what the
// stream brings, one's own words included: so everybody sees the same order, and nothing twice.
import Comet from "../comet.mjs";
import { people } from "./chat-people.js";
import { hear, timeOf } from "./clock.js";
import { at, make } from "./dom.js";
import { addressOf, linkTo, roomInHash } from "./room.js";
import { showState } from "./state.js";
import { drawn, hueOf, me } from "./who.js";

const ROOMS = ["lobby", "kitchen", "observatory"];
const SHOWN = 300; // messages on the page; the daemon has more

const comet = new Comet();
const here = people(comet);
const drafts = new Map(); // what was sent and has not come back: its row, by its key
let room;
let messages;

function enter() {
  messages?.close();
  drafts.clear();
  for (const id of ["messages", "drafts"]) at(id).replaceChildren();
  room = roomInHash("lobby");
  showRooms();
  messages = comet.subscribe(`chat/${room}`, show, { since: "-50" }); // the newest 50, and then what comes
  here.enter(room);
}

// -- what is said -------------------------------------------------------------------------------------------

function show(message) {
  hear(message);
  const { key, by, name, text } = wordsOf(message.data);
  const row = make("li", by === me.id ? "said mine" : "said");
  row.style.setProperty("--hue", hueOf(name));
  row.append(make("b", "", name), timeOf(message), make("p", "", text));
  add(row, at("messages"));
  drafts.get(key)?.remove();
  drafts.delete(key);
  here.said(by);
}

// Anybody may publish anything here: `curl -d hello`, say, which is a string.
function wordsOf(data) {
  if (typeof data === "string") return { name: "From a shell", text: data };
  if (typeof data?.text !== "string") return { name: "Somebody", text: JSON.stringify(data) };
  return { ...data, name: String(data.name ?? "Somebody") };
}

// The daemon keeps an hour and 1,000 messages of a topic. Whoever was away for longer is told.
comet.on("gap", ({ topics }) => {
  if (!topics.includes(`chat/${room}`) || at("messages").lastElementChild?.className === "gap") return;
  add(make("li", "gap", "Some messages are missing here: the daemon has them no more."), at("messages"));
});

// -- saying something ---------------------------------------------------------------------------------------

// The row stands in for the message until that comes back. The key makes it safe to try again: should the
// first try have got through after all, the daemon knows the key, and publishes nothing.
function say(text) {
  const key = drawn();
  const topic = `chat/${room}`;
  const row = make("li", "said mine draft");
  drafts.set(key, row);

  const send = async () => {
    row.replaceChildren(make("p", "", text));
    try {
      await comet.publish(topic, { key, by: me.id, name: me.name, text }, { key });
    } catch (error) {
      const again = make("button", "small", "Try again");
      again.onclick = send;
      row.append(make("small", "wrong", `Not sent: ${error.message}. `, again));
    }
  };
  send();
  add(row, at("drafts"));
  toEnd();
}

at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  at("text").value = "";
  if (text) say(text);
});

at("text").addEventListener("input", () => here.writing());

at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("say").requestSubmit();
});

// -- the page -----------------------------------------------------------------------------------------------

const isAtEnd = ({ scrollHeight, scrollTop, clientHeight } = at("scroll")) =>
  scrollHeight - scrollTop - clientHeight < 60;
const toEnd = () => (at("scroll").scrollTop = at("scroll").scrollHeight);

// Readers who have scrolled back are left where they are.
function add(row, list) {
  const follow = isAtEnd();
  list.append(row);
  while (list.childElementCount > SHOWN) list.firstElementChild.remove();
  at("empty").hidden = true;
  at("down").hidden = follow;
  if (follow) toEnd();
}

at("down").onclick = toEnd;
at("scroll").addEventListener("scroll", () => (at("down").hidden ||= isAtEnd()));

function showRooms() {
  const links = [...new Set([...ROOMS, room])].map((name) => {
    const link = make("a", "", name);
    link.href = linkTo(name);
    if (name === room) link.setAttribute("aria-current", "page");
    return link;
  });
  at("rooms").replaceChildren(...links);
  at("again").href = linkTo(room);
  at("empty").hidden = false;
  at("down").hidden = true;
  at("shell").textContent = `curl -d 'Hello from a shell' '${addressOf(`chat/${room}`)}'`;
}

at("other").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = linkTo(at("room").value.trim());
  at("room").value = "";
});

showState(comet);
addEventListener("hashchange", enter);
enter();

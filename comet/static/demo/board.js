// A board that several people edit at once. Each thing that changes by itself has a topic of its own:
//
//     board/<room>/<note>/place      {"x": 0.2, "y": 0.5, "hue": 85}
//     board/<room>/<note>/text       {"text": "milk, bread"}
//     board/<room>/<window>/pointer  {"x": 0.3, "y": 0.1, "name": "Ann"}
//
// so that one who moves a note and one who writes on it are not in each other's way, and the newest message
// of each topic is all there is to know. What is there and what follows is one subscription: since: "last".
import Comet from "../comet.mjs";
import { note } from "./board-note.js";
import { showPointers } from "./board-pointers.js";
import { at } from "./dom.js";
import { paced } from "./pace.js";
import { linkTo, roomInHash } from "./room.js";
import { showState } from "./state.js";
import { drawn, nameIn } from "./who.js";

const HUES = [25, 85, 145, 235, 310];

const comet = new Comet();
const base = `board/${roomInHash("commons")}`;
const board = at("board");
const notes = new Map();
let reading = read();

function read() {
  return comet.subscribe([`${base}/*/place`, `${base}/*/text`], take, { since: "last" });
}

function take({ topic, data }) {
  const [id, aspect] = topic.split("/").slice(-2);
  noteOf(id).hear(aspect, data);
  showEmpty();
}

// Something was missed: that a note was removed, perhaps; or the daemon has begun a new log, and has none of
// them. What is in the log is what everybody has, so the board is read again.
comet.on("gap", ({ topics }) => {
  if (!topics.includes(`${base}/*/place`)) return;
  reading.close();
  for (const each of notes.values()) each.element.remove();
  notes.clear();
  reading = read();
  showEmpty();
});

function noteOf(id) {
  if (!notes.has(id)) {
    const made = note(board, { place: saying(id, "place"), text: saying(id, "text") });
    notes.set(id, made);
  }
  return notes.get(id);
}

// What a note says of itself goes out no faster than it is stored.
function saying(id, aspect) {
  return paced(async (data) => {
    try {
      await comet.publish(`${base}/${id}/${aspect}`, data);
      at("told").textContent = "";
    } catch (error) {
      at("told").textContent = `Not stored: ${error.message}.`;
      notes.get(id)?.refused(aspect);
      showEmpty();
    }
  });
}

function add(x, y) {
  const made = noteOf(drawn());
  made.change("place", { x, y, hue: HUES[Math.floor(Math.random() * HUES.length)] });
  made.change("text", { text: "" });
  made.element.querySelector("textarea").focus();
  showEmpty();
}

// To where there is room, more or less: multiples of these two numbers spread evenly.
const spread = (part) => (0.1 + part * notes.size) % 1;
at("add").addEventListener("click", () => add(spread(0.7549), spread(0.5698)));

board.addEventListener("dblclick", (event) => {
  if (event.target.closest(".note")) return;
  const { left, top, width, height } = board.getBoundingClientRect();
  add((event.clientX - left) / width, (event.clientY - top) / height);
});

board.addEventListener("removed", () => {
  showEmpty();
  at("add").focus();
});

function showEmpty() {
  at("empty").hidden = board.querySelector(".note:not([hidden])") !== null;
}

showState(comet);
nameIn(at("name"));
at("again").href = linkTo(roomInHash("commons"));
addEventListener("hashchange", () => location.reload());
showPointers(comet, base, board);

// Who is in a room, and who is writing: what windows say of themselves, each on a topic of its own, so that
// the newest message of each (since: "last") is all there is to know. A daemon is not told who looks at a
// page; a window that says nothing for a while has gone, and one that could not say so is not kept waiting
// for.
import { age, hear } from "./clock.js";
import { at } from "./dom.js";
import { me, nameIn } from "./who.js";

const BEAT = 25; // seconds between two signs of life
const PRESENT = 75; // seconds after the last one: hidden windows get to give one only once a minute
const WRITING = 6; // seconds

export function people(comet) {
  const heard = new Map(); // the last that each window said of itself
  let room;
  let subscription;
  let written = 0; // when it was last told that somebody writes here

  async function tell(writing = false) {
    try {
      await comet.publish(`chat/${room}/here/${me.id}`, { name: me.name, writing });
    } catch {
      // It is told again soon, and how the connection stands is on the page.
    }
  }

  function meet(message) {
    hear(message);
    const { name, writing } = message.data ?? {};
    const id = message.topic.split("/").at(-1);
    heard.set(id, { message, name: String(name), writing: writing === true });
    show();
  }

  function show() {
    const there = [...heard].filter(([, { message }]) => age(message) < PRESENT);
    const writing = there.filter(([id, each]) => id !== me.id && each.writing && age(each.message) < WRITING);
    const nameOf = ([id, { name }]) => (id === me.id ? `${name} (you)` : name);
    const names = (those) => those.map(nameOf).join(", ");
    const line = writing.length ? `${names(writing)}: writing …` : `Here: ${names(there)}`;
    if (at("people").textContent !== line) at("people").textContent = line;
  }

  nameIn(at("name"), tell);
  setInterval(tell, BEAT * 1000);
  setInterval(show, 1000);

  return {
    enter(into) {
      subscription?.close();
      heard.clear();
      room = into;
      subscription = comet.subscribe(`chat/${room}/here/*`, meet, { since: "last" });
      tell();
    },
    // Whoever has said it has written it.
    said(id) {
      if (id === me.id) written = 0;
      if (heard.has(id)) heard.get(id).writing = false;
    },
    // Tell it, but not with every letter.
    writing() {
      if (Date.now() - written < (WRITING * 1000) / 2) return;
      written = Date.now();
      tell(true);
    },
  };
}

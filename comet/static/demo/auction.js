// An auction that any number of windows bid in. What a lot has come to is in the log and nowhere else: this
// page reads it from the beginning (since: "first"), makes of it what auction-rules.js says, and draws that.
import Comet from "../comet.mjs";
import { LATE, SECONDS, after, closed, least } from "./auction-rules.js";
import { hear, now } from "./clock.js";
import { make } from "./dom.js";
import { showState } from "./state.js";
import { me, numberOf } from "./who.js";

const UNDER_WAY = 1000; // milliseconds after the end in which a bid that was in time may still be heard of
const SHOWN = 4; // bids of a lot

const comet = new Comet();
const lots = new Map(); // by topic
const cards = new Map([...document.querySelectorAll(".lot")].map((card) => ["auction/" + card.id, card]));

const paddleOf = (by) => 100 + numberOf(by, 900);
const nameOf = (by) => (by === me.id ? `you, paddle ${paddleOf(by)}` : `paddle ${paddleOf(by)}`);

// -- reading ------------------------------------------------------------------------------------------------

function read() {
  lots.clear();
  for (const topic of cards.keys()) lots.set(topic, closed);
  return comet.subscribe([...cards.keys()], take, { since: "first" });
}

function take(message) {
  hear(message);
  lots.set(message.topic, after(lots.get(message.topic), message));
  draw(message.topic);
}

// Who misses a bid may take the wrong one for the highest. So everything is read again.
let reading = read();
comet.on("gap", () => {
  reading.close();
  reading = read();
});

// The countdown is to follow the daemon's clock from the start. It tells its figures once a second, as
// messages; one will do, and leaving the loop ends the subscription.
async function setClock() {
  for await (const message of comet.subscribe("$stats/daemon")) {
    hear(message);
    break;
  }
}

// -- bidding ------------------------------------------------------------------------------------------------

// Whether a bid counts is not known when it is stored, only when it comes back in its place in the log. One
// that does not get through for a few seconds is given up: a minute later it may not be meant any more.
async function publish(topic, data) {
  try {
    await comet.publish(topic, data, { timeout: 5000 });
  } catch (error) {
    part(topic, ".told").textContent = `That may not have got through: ${error.message}.`;
  }
}

for (const [topic, card] of cards) {
  card.append(document.getElementById("controls").content.cloneNode(true));
  const amount = part(topic, "input");
  amount.setAttribute("aria-label", `Your bid for ${part(topic, "h2").textContent}`);
  amount.addEventListener("input", () => (amount.dataset.mine = ""));
  part(topic, ".opening").addEventListener("click", () => publish(topic, { open: true }));
  part(topic, "form").addEventListener("submit", (event) => {
    event.preventDefault();
    publish(topic, { amount: amount.valueAsNumber, by: me.id, round: lots.get(topic).round });
    delete amount.dataset.mine;
  });
}

// -- drawing ------------------------------------------------------------------------------------------------

function part(topic, selector) {
  return cards.get(topic).querySelector(selector);
}

function draw(topic) {
  const lot = lots.get(topic);
  const { round, best, bids } = lot;
  const amount = part(topic, "input");
  part(topic, ".price").textContent = best?.amount ?? least(lot);
  part(topic, ".holder").textContent = best ? nameOf(best.by) : round ? "no bid yet" : "the first bid";
  part(topic, ".told").textContent = verdict(lot);
  part(topic, ".bids").replaceChildren(...bids.slice(-SHOWN).reverse().map(row));
  if (!("mine" in amount.dataset)) amount.value = least(lot);
  tick(topic);
}

function row({ amount, by, refused }) {
  const price = make("b", "number", String(amount));
  return make("li", refused && "refused", price, nameOf(by), make("small", "", refused));
}

// What became of one's own last bid.
function verdict({ best, bids }) {
  const last = bids.findLast(({ by }) => by === me.id);
  if (!last) return "";
  if (last.refused) return `Your ${last.amount} came ${last.refused}.`;
  if (best.by === me.id) return "Yours is the highest bid.";
  return `You were outbid: ${best.amount} is higher than your ${last.amount}.`;
}

const faceOf = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

// What changes with time alone.
function tick(topic) {
  const { round, best, deadline } = lots.get(topic);
  const left = round ? deadline * 1000 - now() : -Infinity;
  const card = cards.get(topic);
  const state = !round ? "new" : left > 0 ? "open" : left > -UNDER_WAY ? "closing" : "over";
  const words = {
    new: "Not open yet",
    open: faceOf(Math.ceil(left / 1000)),
    closing: "Going, going …",
    over: best ? "Sold" : "Not sold",
  };
  card.dataset.state = state;
  card.classList.toggle("hurry", state === "open" && left < LATE * 1000);
  part(topic, ".left").textContent = words[state];
  part(topic, ".bar-left").style.scale = `${Math.min(1, Math.max(0, left / SECONDS / 1000))} 1`;
  part(topic, "form").hidden = state === "new" || state === "over";
  part(topic, ".opening").hidden = state === "open" || state === "closing";
  part(topic, ".opening").textContent = state === "over" ? "Open it again" : "Open the bidding";
}

document.getElementById("paddle").textContent = paddleOf(me.id);
showState(comet);
setClock();
setInterval(() => [...cards.keys()].forEach(tick), 100);
[...cards.keys()].forEach(draw);

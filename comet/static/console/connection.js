// How the connection stands: in words, with the seconds until the next try, and a button that does not wait.

import { at, say } from "./elements.js";

const TOLD = {
  idle: () => "Nothing to listen to",
  connecting: () => "Connecting",
  open: ({ transport, reason }) => (reason ? `Refused: ${reason}` : `Live over ${transport}`),
  waiting: ({ reason }) => `Not connected: ${reason}`,
  closed: () => "Closed",
};

export function showConnection(comet) {
  let counting;

  function count(until) {
    const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
    say(at("countdown"), seconds ? `next try in ${seconds} s` : "trying");
  }

  comet.on("state", (told) => {
    clearInterval(counting);
    const isWaiting = told.state === "waiting";
    say(at("state"), TOLD[told.state](told));
    at("connection").className = told.reason && !isWaiting ? "waiting" : told.state;
    at("retry").hidden = !isWaiting;
    at("countdown").textContent = "";
    if (!isWaiting) return;
    const until = performance.now() + told.retry;
    count(until);
    counting = setInterval(count, 200, until);
  });
  at("retry").addEventListener("click", () => comet.retryNow());
}

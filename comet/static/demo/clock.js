// The daemon's clock, read from its messages, because the clocks of the windows may be wrong.
//
// A message says when the daemon had it; it is heard a little later, or much later if it is history. So what
// it says is never ahead of the daemon's clock, and the one that is furthest ahead of ours was the quickest:
// that is the best reading.
let ahead = -Infinity; // milliseconds

export function hear(message) {
  ahead = Math.max(ahead, message.time * 1000 - Date.now());
}

// Milliseconds since 1970, as the daemon has it; by the clock of this machine as long as nothing was heard.
export const now = () => Date.now() + (Number.isFinite(ahead) ? ahead : 0);

// Seconds since a message was published.
export const age = (message) => now() / 1000 - message.time;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat([], { dateStyle: "long", timeStyle: "medium" });

// A <time> that shows when a message was published, the date on pointing at it.
export function timeOf(message) {
  const element = document.createElement("time");
  const at = new Date(message.time * 1000);
  element.dateTime = at.toISOString();
  element.textContent = clock.format(at);
  element.title = date.format(at);
  return element;
}

// What the daemon lists only when it is asked.

import { authorization } from "./token.js";

/**
 * Do `work`, which returns a promise, every so many seconds while `section` can be seen, and at once when
 * that begins. Returns what does it now.
 */
export function whileSeen(section, seconds, work) {
  let isSeen = false;
  let turns = 0;
  let timer;

  async function turn() {
    clearTimeout(timer);
    const mine = ++turns;
    await work();
    if (mine === turns && isSeen && !document.hidden) timer = setTimeout(turn, seconds * 1000);
  }

  const look = () => (isSeen && !document.hidden ? turn() : clearTimeout(timer));
  const observer = new IntersectionObserver((changes) => {
    isSeen = changes.at(-1).isIntersecting;
    look();
  });
  observer.observe(section);
  document.addEventListener("visibilitychange", look);
  return turn;
}

/** The answer of the daemon as JSON; null if there is none, which the connection's state tells anyway. */
export async function listed(home, path, query) {
  const url = new URL(path, home);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  try {
    const answer = await fetch(url, { cache: "no-store", headers: authorization });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

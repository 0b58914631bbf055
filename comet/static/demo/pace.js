// Says things no faster than they are taken: of what there is to say while something is on its way, or
// shortly after, only the newest goes out. A pointer moves a hundred times a second; a slow network then gets
// fewer of its positions, never a queue of old ones. (On the way to the browser, the daemon does the same for
// a subscription with `conflate`.)
//
// `say` returns a promise. What it rejects with is for `say` itself to tell: here, the next thing is said all
// the same.
export function paced(say, least = 40) {
  let next;
  let busy = false;

  return async (what) => {
    next = [what];
    if (busy) return;
    busy = true;
    while (next) {
      const [newest] = next;
      next = undefined;
      await Promise.allSettled([say(newest), new Promise((done) => setTimeout(done, least))]);
    }
    busy = false;
  };
}

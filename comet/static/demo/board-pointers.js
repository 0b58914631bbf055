// Where the others point. A pointer is worth nothing once it is old: what comes from now on is enough (since:
// "now"), a position that is overtaken by the next is not sent at all, and what cannot be sent soon is given
// up.
import { make } from "./dom.js";
import { paced } from "./pace.js";
import { hueOf, me } from "./who.js";

const STALE = 4000; // milliseconds after which a pointer that does not move is taken off

export function showPointers(comet, base, board) {
  const shown = new Map();

  const say = paced((data) => comet.publish(`${base}/${me.id}/pointer`, data, { timeout: 2000 }), 60);

  board.addEventListener("pointermove", (event) => {
    const { left, top, width, height } = board.getBoundingClientRect();
    say({ name: me.name, x: (event.clientX - left) / width, y: (event.clientY - top) / height });
  });
  board.addEventListener("pointerleave", () => say({ gone: true }));

  comet.subscribe(`${base}/*/pointer`, ({ topic, data }) => {
    const id = topic.split("/").at(-2);
    if (id === me.id) return;
    const { name, x, y } = data ?? {};
    if (data?.gone || !(x >= 0 && x <= 1 && y >= 0 && y <= 1)) return remove(id);
    const { element, stale } = shown.get(id) ?? { element: made(id) };
    clearTimeout(stale);
    shown.set(id, { element, stale: setTimeout(() => remove(id), STALE) });
    element.lastElementChild.textContent = String(name ?? "");
    element.style.left = `${100 * x}%`;
    element.style.top = `${100 * y}%`;
  });

  function made(id) {
    const element = make("div", "pointer", make("i"), make("span"));
    element.ariaHidden = "true";
    element.style.setProperty("--hue", hueOf(id));
    board.append(element);
    return element;
  }

  function remove(id) {
    clearTimeout(shown.get(id)?.stale);
    shown.get(id)?.element.remove();
    shown.delete(id);
  }
}

// A note: what the log says of it, what was changed in this window, and how it looks.
//
// The trap is the echo. What is changed here shows at once, is published, and comes back a moment later, when
// it has been changed further: drawn as it comes, the note would jump back under the pointer. So one's own
// change covers what the log says, until that very change comes back (by its mark). From then on the log
// alone is right, whoever was the last to write: in all windows the same.
import { at } from "./dom.js";
import { drawn } from "./who.js";

const STEP = 0.02; // of the board, by an arrow key
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let top = 1;

// `say` has a function for each aspect, place and text, that publishes it.
export function note(board, say) {
  const log = {};
  const mine = {};
  const element = document.createElement("article");
  element.className = "note";
  element.append(at("note").content.cloneNode(true));
  const [grip, remove, text] = element.children;
  board.append(element);

  function change(aspect, data) {
    mine[aspect] = { ...data, mark: drawn() };
    say[aspect](mine[aspect]);
    draw();
  }

  function hear(aspect, data) {
    log[aspect] = data;
    if (mine[aspect]?.mark === data?.mark) delete mine[aspect];
    draw();
  }

  function refused(aspect) {
    delete mine[aspect];
    draw();
  }

  const place = () => mine.place ?? log.place;

  // What comes may be anything, and is taken for what it should be, or not at all.
  function draw() {
    const { x, y, hue, removed } = place() ?? {};
    const words = (mine.text ?? log.text)?.text;
    element.hidden = removed === true || !Number.isFinite(x) || !Number.isFinite(y);
    element.style.setProperty("--x", within(x));
    element.style.setProperty("--y", within(y));
    element.style.setProperty("--hue", Number.isFinite(hue) ? hue : 85);
    element.classList.toggle("mine", "place" in mine);
    if (typeof words === "string" && words !== text.value) write(words);
  }

  // The caret stays about where it was.
  function write(words) {
    const { selectionStart, selectionEnd } = text;
    text.value = words;
    if (document.activeElement === text) text.setSelectionRange(selectionStart, selectionEnd);
  }

  function move(x, y) {
    change("place", { ...place(), x: within(x), y: within(y) });
  }

  // Dragging, by mouse, pen or finger: the grip has touch-action: none, and keeps the pointer while it is
  // held.
  grip.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    grip.setPointerCapture(down.pointerId);
    const { x, y } = place();
    const width = board.clientWidth - element.offsetWidth;
    const height = board.clientHeight - element.offsetHeight;
    const drag = ({ clientX, clientY }) =>
      move(x + (clientX - down.clientX) / width, y + (clientY - down.clientY) / height);
    grip.addEventListener("pointermove", drag);
    grip.addEventListener("lostpointercapture", () => grip.removeEventListener("pointermove", drag), {
      once: true,
    });
  });

  grip.addEventListener("keydown", (event) => {
    const way = WAYS[event.key];
    if (!way) return;
    event.preventDefault();
    const { x, y } = place();
    const step = event.shiftKey ? 5 * STEP : STEP;
    move(x + way[0] * step, y + way[1] * step);
  });

  text.addEventListener("input", () => change("text", { text: text.value }));
  remove.addEventListener("click", () => {
    change("place", { removed: true });
    board.dispatchEvent(new Event("removed"));
  });
  const raise = () => (element.style.zIndex = ++top);
  for (const touch of ["pointerdown", "focusin"]) element.addEventListener(touch, raise);

  draw();
  return { element, change, hear, refused };
}

const within = (part) => Math.min(1, Math.max(0, Number.isFinite(part) ? part : 0));

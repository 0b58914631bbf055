// Commands that do what is on the screen, in several languages, and a button that copies them.

import { element, say } from "./elements.js";

/** Milliseconds for which a button says that it has copied. */
const TOLD = 1_500;

/** Have `button` copy what `text` returns, and say so. */
export function copyBy(button, text) {
  const label = button.textContent;
  let timer;
  button.addEventListener("click", async () => {
    say(button, (await copy(text())) ? "Copied" : "Not copied");
    clearTimeout(timer);
    timer = setTimeout(say, TOLD, button, label);
  });
}

/**
 * Commands in `place`, of which one is shown: returns what shows others, which are given as `{ name, text }`.
 * `title` says what they are for.
 */
export function offerCommands(place, title) {
  const names = element("div", { role: "group", "aria-label": title, class: "names" });
  const shown = element("pre", { tabindex: "0", "aria-label": title });
  const button = element("button", { type: "button" }, "Copy");
  let commands = [];
  let chosen = "";

  function show() {
    const command = commands.find(({ name }) => name === chosen) ?? commands[0];
    say(shown, command.text);
    for (const each of names.children) each.setAttribute("aria-pressed", each.textContent === command.name);
  }

  function nameButton({ name }) {
    const made = element("button", { type: "button" }, name);
    made.addEventListener("click", () => {
      chosen = name;
      show();
    });
    return made;
  }

  place.append(
    element("div", { class: "line" }, element("span", { class: "faint" }, title), names, button),
    shown,
  );
  copyBy(button, () => shown.textContent);
  return (others) => {
    const isSame = commands.map(({ name }) => name).join() === others.map(({ name }) => name).join();
    commands = others;
    if (!isSame) names.replaceChildren(...commands.map(nameButton));
    show();
  };
}

// Only pages from https and from this machine have the clipboard; the older way needs a selection.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const focused = document.activeElement;
  const area = element("textarea", { class: "unseen", readonly: "" }, text);
  // Beside the focus: outside an open dialog nothing can be selected.
  focused.after(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused.focus();
  return done;
}

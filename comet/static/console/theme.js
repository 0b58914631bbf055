// Light, dark, or as the system has it: remembered in this browser.

import { at } from "./elements.js";

const THEMES = ["auto", "light", "dark"];
const NAME = "comet theme";

export function chooseTheme() {
  let chosen = recall();
  show(chosen);
  at("theme").addEventListener("click", () => {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    show(chosen);
    remember(chosen);
  });
}

function show(theme) {
  document.documentElement.dataset.theme = theme;
  at("theme").textContent = `Theme: ${theme}`;
}

// Where a browser keeps nothing, reading and writing throw.

function recall() {
  try {
    const kept = localStorage.getItem(NAME);
    return THEMES.includes(kept) ? kept : "auto";
  } catch {
    return "auto";
  }
}

function remember(theme) {
  try {
    localStorage.setItem(NAME, theme);
  } catch {
    // Then it lasts as long as the page.
  }
}

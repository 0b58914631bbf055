// Who is at this window: an id that each window has for itself, and a name that all windows of this browser
// share. Neither proves anything: whoever may publish can call himself what he likes. Real names come from
// your login.

const FIRST = ["Amber", "Brisk", "Calm", "Dusky", "Keen", "Quiet", "Swift", "Wry"];
const LAST = ["Crane", "Fox", "Hare", "Lynx", "Otter", "Owl", "Wren"];

const pick = (words) => words[Math.floor(Math.random() * words.length)];
const guest = () => `${pick(FIRST)} ${pick(LAST)}`;

// Eight letters and digits that nobody else drew.
export const drawn = () => Math.random().toString(36).slice(2, 10).padEnd(8, "0");

// The storage of a tab survives a reload, so that a reloaded window is the same one. A tab that was
// duplicated has the same id; that is good enough here. A storage that is switched off throws.
function kept(storage, name, make) {
  try {
    const value = storage().getItem(name) || make();
    storage().setItem(name, value);
    return value;
  } catch {
    return make();
  }
}

export const me = {
  id: kept(() => sessionStorage, "comet demo window", drawn),
  name: kept(() => localStorage, "comet demo name", guest),
};

// Have `input` show the name, and change it.
export function nameIn(input, changed = () => {}) {
  input.value = me.name;
  input.addEventListener("change", () => {
    me.name = input.value.trim().slice(0, 40) || guest();
    input.value = me.name;
    try {
      localStorage.setItem("comet demo name", me.name);
    } catch {
      // It lasts as long as the window, then.
    }
    changed();
  });
}

// The same number for the same words, everywhere, from 0 up to `below`: a hue, a paddle.
export function numberOf(words, below) {
  let sum = 7;
  for (const letter of String(words)) sum = (sum * 31 + letter.codePointAt(0)) % 1_000_003;
  return sum % below;
}

// The same colour for the same words. How light it is, the style sheet decides.
export const hueOf = (words) => numberOf(words, 360);

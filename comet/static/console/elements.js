// The few things that are done to the page.

export const at = (id) => document.getElementById(id);

/** An element with attributes or properties (`class`, `title`, …), and children: elements or texts. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Give it this text, if it has another: what does not change is not laid out again, nor read out. */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/**
 * Have `body` show a row for each of `things`, in their order. A row belongs to a key; `make` makes an empty
 * one, `fill` puts a thing into it. While a row is pointed at or has the focus, all stay where they are.
 */
export function showRows(body, things, { key, make, fill }) {
  const before = new Map([...body.children].map((row) => [row.dataset.key, row]));
  if (body.matches(":hover, :focus-within")) things = inPlace(things, key, [...before.keys()]);
  let next = body.firstElementChild;
  for (const thing of things) {
    const name = key(thing);
    const row = before.get(name) ?? make(thing);
    before.delete(name);
    row.dataset.key = name;
    fill(row, thing);
    if (row === next) next = next.nextElementSibling;
    else body.insertBefore(row, next);
  }
  for (const row of before.values()) row.remove();
}

function inPlace(things, key, order) {
  const places = new Map(order.map((name, place) => [name, place]));
  const place = (thing) => places.get(key(thing)) ?? order.length;
  return [...things].sort((one, other) => place(one) - place(other));
}

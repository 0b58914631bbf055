// Rooms are named by the hash, so that a link leads into one. What stands there can be anything, and is to
// become one segment of a topic: no slash, no star, no control characters, and not a segment of dots.
export function roomInHash(otherwise) {
  let name = "";
  try {
    name = decodeURIComponent(location.hash.slice(1));
  } catch {
    // It is not what a browser would write: as good as none.
  }
  name = [...name.trim().replace(/[/*\p{Cc}]/gu, "-")].slice(0, 40).join("");
  return /^\.*$/.test(name) ? otherwise : name;
}

// The same page in a room, as a link.
export const linkTo = (room) => "#" + encodeURIComponent(room);

// How a shell asks for a topic of the daemon that this page came from. In quotes a shell leaves all alone but
// the quote.
export function addressOf(topic) {
  const path = topic.split("/").map(encodeURIComponent).join("/").replaceAll("'", "%27");
  return new URL(`../topics/${path}`, import.meta.url).href;
}

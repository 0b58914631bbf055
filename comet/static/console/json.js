// JSON in colours: each token in an element of its own, whose class says what it is.

// A name is a text before a colon. What is cut off in the middle of a text is taken for one.
const TOKEN = /("(?:\\.|[^"\\])*(?:"|$))(\s*:)?|-?\d[\d.eE+-]*|true|false|null|[^"\-\dtfn]+|./gsu;

/** The JSON `text`, or a beginning of it, as nodes. */
export function coloured(text) {
  const fragment = document.createDocumentFragment();
  for (const [token, string, colon] of text.matchAll(TOKEN)) {
    const kind = string ? (colon ? "name" : "string") : /^[-\dtfn]/.test(token) ? "value" : "";
    if (!kind) {
      fragment.append(token);
      continue;
    }
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = string ?? token;
    fragment.append(part, colon ?? "");
  }
  return fragment;
}

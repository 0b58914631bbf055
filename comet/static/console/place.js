// What is tailed stands in the page's address, so that it can be shared: #auction/*?since=last&filter=7

export const DEFAULT = { pattern: "**", since: "-50", filter: "" };

/** What the address says. */
export function place() {
  const [pattern, query] = location.hash.slice(1).split("?");
  const found = new URLSearchParams(query);
  return {
    pattern: decoded(pattern) || DEFAULT.pattern,
    since: found.get("since") || DEFAULT.since,
    filter: found.get("filter") ?? DEFAULT.filter,
  };
}

export function setPlace({ pattern, since, filter }) {
  const query = new URLSearchParams();
  if (since !== DEFAULT.since) query.set("since", since);
  if (filter) query.set("filter", filter);
  const path = pattern.split("/").map(encodeURIComponent).join("/");
  history.replaceState(null, "", `#${path}${query.size ? `?${query}` : ""}`);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A percent sign that somebody typed.
  }
}

// The token that the page was opened with (`/?token=…`), where the daemon wants one. It is taken out of the address at
// once: addresses are shared, and kept in histories.

const query = new URLSearchParams(location.search);

/** The token, or null. */
export const token = query.get("token");

if (token !== null) {
  query.delete("token");
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
}

/** What a request says of it. */
export const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };

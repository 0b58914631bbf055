/** What a tab remembers of a daemon: the transport that worked. Storage may be forbidden; then nothing is. */

export function recall(daemon: string): string | null {
  try {
    return sessionStorage.getItem("comet " + daemon);
  } catch {
    return null;
  }
}

export function remember(daemon: string, transport: string): void {
  try {
    sessionStorage.setItem("comet " + daemon, transport);
  } catch {
    // It is tried out anew each time.
  }
}

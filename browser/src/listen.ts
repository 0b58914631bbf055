/** Listeners: of things that may not be there, as in a worker, and of the page's own, which may throw. */

/** Listen; returns what ends it. */
export function listen(target: EventTarget | null | undefined, name: string, told: (event: any) => void): () => void {
  target?.addEventListener(name, told);
  return () => target?.removeEventListener(name, told);
}

/** Call a function of the page. What it throws is told as its own mistake, and disturbs nobody else. */
export function call<Told>(told: (what: Told) => void, what: Told): void {
  try {
    told(what);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

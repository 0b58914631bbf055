/**
 * How long to stay away: full jitter, so that clients which lost the same daemon do not come back together (see
 * "Exponential Backoff And Jitter", M. Brooker, 2015).
 */
const FIRST = 1_000;
const LONGEST = 30_000;

/** A row of failures. */
export function backoff() {
  let failures = 0;
  return {
    /** Milliseconds until the next try. */
    next: () => Math.random() * Math.min(LONGEST, FIRST * 2 ** failures++),
    /** Things went well. */
    reset: () => {
      failures = 0;
    },
  };
}

export const pause = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

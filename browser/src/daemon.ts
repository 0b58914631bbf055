/**
 * Requests to the daemon that end: polls, changes of a stream, publishing. What it refuses is a problem document
 * (RFC 9457), whose `detail` is for people.
 */
import type { CometError, Options } from "../comet.d.ts";
import { listen } from "./listen.ts";

/** What is thrown where the daemon refuses, or does not answer; status 0 then. */
function refusal(detail: string, code: string, status: number): CometError {
  return Object.assign(new Error(detail), { name: NAME, code, status });
}

const NAME = "CometError";

/** A request on its way is given up after so many milliseconds, unless it is one that is held. */
export const PATIENCE = 15_000;

export type Daemon = ReturnType<typeof daemon>;

/** The daemon at `base`. */
export function daemon(base: string | URL, token: Options["token"]) {
  const home = new URL(base, globalThis.location?.href);
  if (!home.pathname.endsWith("/")) home.pathname += "/";
  return {
    home: home.href,
    origin: home.origin,

    /** The address of a subscription. The token is in it, because only some transports can send a header. */
    async address(topics: readonly string[], query: Record<string, string>): Promise<string> {
      const url = new URL("topics", home);
      for (const topic of topics) url.searchParams.append("topic", topic);
      for (const name in query) url.searchParams.set(name, query[name]!);
      if (token) url.searchParams.set("token", await token());
      return url.href;
    },

    /** The headers of a request that is no subscription. */
    async headers(): Promise<Record<string, string>> {
      return token ? { Authorization: "Bearer " + (await token()) } : {};
    },

    /** Where `path` is. */
    at: (path: string) => new URL(path, home).href,
  };
}

/** Ask, and return the answer as JSON, or nothing if it is empty. Throws a `CometError`. */
export async function ask(url: string, request: RequestInit = {}, patience = PATIENCE) {
  const given = new AbortController();
  const giveUp = () => given.abort();
  const timer = setTimeout(giveUp, patience);
  const unheard = listen(request.signal, "abort", giveUp);
  try {
    const answer = await fetched(url, { ...request, signal: given.signal });
    return answer.status === 204 ? undefined : await answer.json();
  } catch (error) {
    const { name, message } = error as Error;
    if (name === NAME) throw error;
    throw refusal(given.signal.aborted ? "no answer in time" : message, "unreachable", 0);
  } finally {
    clearTimeout(timer);
    unheard();
  }
}

/** Return the response, of which only the head has come. Throws a `CometError` if it is a refusal. */
export async function fetched(url: string, request: RequestInit): Promise<Response> {
  const answer = await fetch(url, { cache: "no-store", ...request });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw refusal(problem.detail ?? `the answer was ${answer.status}`, problem.code ?? "unexpected", answer.status);
}

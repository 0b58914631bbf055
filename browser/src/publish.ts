/**
 * Publishing: one message after the other, so that they arrive in their order; each again and again under the same
 * idempotency key, until the daemon has stored or refused it.
 */
import type { CometError, Position, PublishOptions } from "../comet.d.ts";
import { backoff, pause } from "./backoff.ts";
import { type Daemon, PATIENCE, ask } from "./daemon.ts";
import { checked } from "./pattern.ts";

/** Milliseconds after which a publish is given up. */
const TIMEOUT = 30_000;

export function publisher(daemon: Daemon) {
  let last: Promise<unknown> = Promise.resolve();

  return (topic: string, data: unknown, options: PublishOptions = {}): Promise<{ id: Position }> => {
    const path = checked(topic, false).split("/");
    // A browser takes such segments out of a path.
    if (path.some((segment) => /^\.\.?$/.test(segment)))
      throw new TypeError(`"${topic}" has a segment of dots`);
    const url = daemon.at("topics/" + path.map(encodeURIComponent).join("/"));
    const [body, usual] = encoded(data);
    const type = options.type ?? usual;
    const headers = { "Idempotency-Key": options.key ?? drawn(), ...(type && { "Content-Type": type }) };
    const until = Date.now() + (options.timeout ?? TIMEOUT);
    const mine = last.then(() => delivered(daemon, url, { method: "POST", body, headers }, until));
    last = mine.catch(() => {});
    return mine;
  };
}

async function delivered(daemon: Daemon, url: string, request: RequestInit, until: number): Promise<{ id: Position }> {
  const waits = backoff();
  for (;;) {
    const left = until - Date.now();
    try {
      const headers = { ...(request.headers as object), ...(await daemon.headers()) };
      return await ask(url, { ...request, headers }, Math.min(Math.max(left, 0), PATIENCE));
    } catch (error) {
      const { status } = error as CometError;
      const delay = waits.next();
      const mayPass = !status || status === 408 || status === 429 || status >= 500;
      if (!mayPass || delay > left) throw error;
      await pause(delay);
    }
  }
}

/** Return the body and its content type, if the browser does not know it better. */
function encoded(data: unknown): [BodyInit, string?] {
  if (typeof data === "string" || data instanceof Blob || data instanceof ArrayBuffer || ArrayBuffer.isView(data))
    return [data as BodyInit];
  return [JSON.stringify(data ?? null), "application/json"];
}

/** 128 bits. Not `randomUUID`, which pages have only under https. */
const drawn = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

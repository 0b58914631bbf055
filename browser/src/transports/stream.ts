/** Transport `stream`: one JSON object a line, on a response that stays open. */
import { fetched } from "../daemon.ts";
import type { Run } from "./index.ts";

/** Hand over the whole lines of a response as they come. */
export async function lines(url: string, signal: AbortSignal, take: (lines: string[]) => void): Promise<void> {
  const reader = (await fetched(url, { signal })).body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let read; !(read = await reader.read()).done; ) {
    const whole = (rest + read.value).split("\n");
    rest = whole.pop()!;
    take(whole);
  }
}

export const stream: Run = async ({ address, since, signal }, take) =>
  lines(await address(since), signal, (texts) => take(texts.filter(Boolean).map((text) => JSON.parse(text))));

/** Transport `websocket`: a text frame an object. Nothing is sent: topics are changed and messages published by POST. */
import { listen } from "../listen.ts";
import type { Run } from "./index.ts";

export const websocket: Run = async ({ address, since, signal }, take) => {
  const url = await address(since);
  if (signal.aborted) return;
  await new Promise((_, failed) => {
    const socket = new WebSocket(url.replace(/^http/, "ws"), "comet.v1");
    socket.onmessage = ({ data }) => take([JSON.parse(data)]);
    socket.onclose = ({ code, reason }) => failed(new Error(`WebSocket closed: ${reason || code}`));
    listen(signal, "abort", () => socket.close());
  });
};

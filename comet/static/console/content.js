// What a message carries, as text: JSON, a text, or bytes.

import { count } from "./amounts.js";

/** Bytes in a line of a dump. */
const LINE = 16;

/** The kind of `data`: `JSON`, `text` or `bytes`. */
export const kindOf = (data) =>
  data instanceof Uint8Array ? "bytes" : typeof data === "string" ? "text" : "JSON";

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** All of it in one text: to search, and to copy. Bytes are base64. */
export function plain(data) {
  if (!(data instanceof Uint8Array)) return typeof data === "string" ? data : JSON.stringify(data);
  let letters = "";
  for (let start = 0; start < data.length; start += 8192)
    letters += String.fromCharCode(...data.subarray(start, start + 8192));
  return btoa(letters);
}

/** What is shown of it in a line: at most about `longest` characters. */
export function preview(data, text, longest) {
  const shown =
    data instanceof Uint8Array ? `${count(data.length)} bytes: ${hex(data.subarray(0, longest))}` : text;
  return shown.length > longest ? `${shown.slice(0, longest)}…` : shown;
}

/** Bytes as people look at them: where, in hexadecimal, and as letters where they are some. */
export function dump(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += LINE) {
    const line = bytes.subarray(start, start + LINE);
    const letters = String.fromCharCode(...line).replace(/[^\x20-\x7e]/g, ".");
    lines.push(`${start.toString(16).padStart(6, "0")}  ${hex(line).padEnd(3 * LINE)} ${letters}`);
  }
  return lines.join("\n");
}

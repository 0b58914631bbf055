/**
 * Patterns: topics in which a segment may be `*`, which is any one, and the last may be `**`, which is one or more.
 * Neither stands for a first segment that begins with `$`: what is there belongs to the daemon.
 */

/** Return `text` if it is a topic, or, if `wild`, a pattern; else throw a TypeError. The daemon would refuse it. */
export function checked(text: string, wild: boolean): string {
  const bytes = encodeURIComponent(text).replace(/%../g, "-").length;
  const segments = text.split("/");
  const wrong = (segment: string, index: number) =>
    !segment ||
    (segment.includes("*") && !(wild && (segment === "*" || (segment === "**" && index === segments.length - 1))));
  if (bytes > 255 || /[\0-\x1f\x7f-\x9f]/.test(text) || segments.some(wrong))
    throw new TypeError(`"${text}" is no ${wild ? "pattern" : "topic"}`);
  return text;
}

/** Return what tells whether a topic is one that `patterns` mean. */
export function matching(patterns: readonly string[]): (topic: string) => boolean {
  const sources = patterns.map(
    (pattern) =>
      (pattern[0] === "*" ? "(?!\\$)" : "") +
      pattern
        .replace(/[.+?^${}()|[\]\\]/g, "\\$&")
        .replace(/\*+/g, (stars) => (stars[1] ? ".+" : "[^/]+")),
  );
  const expression = new RegExp(`^(?:${sources.join("|")})$`, "s");
  return (topic) => expression.test(topic);
}

// Numbers as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

/** 1,234,567 */
export const count = (number) => whole.format(number);

/** 3.4, 57, 1,234, 1.23M: never wide. */
export const rate = (number) => (number < 10 ? tenths : number < 100_000 ? whole : short).format(number);

/** 1.2 kB, 12 kB: thousands, as disks and networks have them. */
export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 999.5 && unit < units.length - 1) {
    number /= 1000;
    unit++;
  }
  return `${(unit && number < 9.95 ? tenths : whole).format(number)} ${units[unit]}`;
}

/** 0.4 ms, 12 ms, 3.1 s */
export const brief = (seconds) =>
  seconds < 1
    ? `${(seconds < 0.01 ? tenths : whole).format(seconds * 1000)} ms`
    : `${tenths.format(seconds)} s`;

const UNITS = Object.entries({ d: 86_400, h: 3_600, min: 60, s: 1 });

/** 12 s, 3 min 20 s, 5 h 2 min, 12 d 3 h */
export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const place = UNITS.findIndex(([, size]) => seconds >= size);
  const [[name, size], [lesserName, lesser]] = UNITS.slice(place);
  const rest = Math.floor((seconds % size) / lesser);
  return `${count(Math.floor(seconds / size))} ${name}${rest ? ` ${rest} ${lesserName}` : ""}`;
}

/** 14:03:59.123, of seconds since 1970. */
export const timeOfDay = (seconds) => clock.format(seconds * 1000);

/** Nov 22, 2026 14:03:59.123 */
export const dateAndTime = (seconds) => `${day.format(seconds * 1000)} ${timeOfDay(seconds)}`;

/** `2 topics`, `1 topic` */
export const many = (number, name) => `${count(number)} ${name}${number === 1 ? "" : "s"}`;

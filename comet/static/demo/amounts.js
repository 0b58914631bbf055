// Figures as people read them.
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const percent = (part) => `${whole.format(part * 100)} %`;
export const plain = (number) => (number < 10 ? tenth : whole).format(number);
export const milliseconds = (number) => `${(number < 10 ? tenth : whole).format(number)} ms`;

// Thousands, as networks and disks have them: 12.3 kB.
export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, number)) / 3)));
  return `${(power ? tenth : whole).format(number / 1000 ** power)} ${units[power]}`;
}

// The newest of what came: so many entries, and not more than so many characters in all of them.

/** The most entries. */
const MOST = 1_000;
/** The most characters: a few messages can be large. */
const LARGEST = 16_000_000;

export class Recent {
  constructor() {
    this.clear();
  }

  clear() {
    this.entries = [];
    this.size = 0;
    /** How many of the entries, the newest, were not taken yet. */
    this.fresh = 0;
    /** How many were given up without having been taken. */
    this.missed = 0;
  }

  /** Keep `entry`, which has a `text`. */
  add(entry) {
    this.entries.push(entry);
    this.size += entry.text.length;
    this.fresh++;
    while (this.entries.length > MOST || (this.size > LARGEST && this.entries.length > 1)) {
      this.size -= this.entries.shift().text.length;
      if (this.fresh > this.entries.length) {
        this.fresh--;
        this.missed++;
      }
    }
  }

  /** Those that were taken before, the oldest first. */
  taken() {
    return this.entries.slice(0, this.entries.length - this.fresh);
  }

  /** Take those that were not taken yet, the oldest first. */
  take() {
    const taken = this.entries.slice(this.entries.length - this.fresh);
    this.fresh = 0;
    return taken;
  }
}

// What Puppeteer does alike in Chromium and Firefox; where they differ, it asks chromium.mjs or firefox.mjs.
//
// Puppeteer and not Playwright, which has every page believe that it is seen and has the focus: such a page is never hidden,
// and cannot be frozen. Each method answers the question of its name; profiles and tabs go by numbers.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// Node looks for packages only above the asking file; they are in browser/.
const { resolve } = createRequire(new URL("../../browser/package.json", import.meta.url));
const { default: puppeteer } = await import(pathToFileURL(resolve("puppeteer-core")));

export class Puppet {
  #kind;
  #program;
  #browsers = new Map();
  #kept = new Map();
  #count = 0;

  constructor(kind, program) {
    this.#kind = kind;
    this.#program = program;
  }

  async end() {
    for (const browser of this.#browsers.values()) await browser.close();
  }

  async profile({ dark }) {
    const browser = await this.#browser(dark);
    return this.#keep({ dark, context: await browser.createBrowserContext() });
  }

  async leave({ profile }) {
    await this.#taken(profile).context.close();
  }

  async open({ profile, width, height, type }) {
    const { dark, context } = this.#kept.get(profile);
    const page = await context.newPage({ type });
    const tab = { page, seen: nothing() };
    await page.setViewport({ width, height });
    page.on("request", (request) => tab.seen.requests.push(request.url()));
    await this.#kind.prepare(tab, dark);
    return this.#keep(tab);
  }

  async close({ page }) {
    await this.#taken(page).page.close();
  }

  // "load" would be waited for in vain where a picture never ends.
  async go({ page, url }) {
    const tab = this.#kept.get(page);
    tab.seen = nothing();
    await tab.page.goto(url, { waitUntil: "domcontentloaded" });
  }

  async reload({ page }) {
    const tab = this.#kept.get(page);
    tab.seen = nothing();
    await tab.page.reload({ waitUntil: "domcontentloaded" });
  }

  evaluate({ page, expression }) {
    return this.#page(page).evaluate(expression);
  }

  async click({ page, selector }) {
    await this.#page(page).locator(selector).click();
  }

  async type({ page, text }) {
    await this.#page(page).keyboard.type(text);
  }

  async press({ page, keys }) {
    const { keyboard } = this.#page(page);
    for (const key of keys) await keyboard.down(key);
    for (const key of keys.reverse()) await keyboard.up(key);
  }

  async mouse({ page, act, x, y }) {
    const { mouse } = this.#page(page);
    await (act === "move" ? mouse.move(x, y) : mouse[act]());
  }

  async show({ page }) {
    await this.#page(page).bringToFront();
  }

  async freeze({ page, frozen }) {
    await this.#kind.freeze(this.#kept.get(page), frozen);
  }

  async offline({ page, offline }) {
    await this.#page(page).setOfflineMode(offline);
  }

  async screenshot({ page, path }) {
    await this.#page(page).screenshot({ path });
  }

  seen({ page }) {
    return this.#kept.get(page).seen;
  }

  // Firefox has to be started anew to be dark; Chromium is told for each page.
  async #browser(dark) {
    const key = this.#kind.startedDark && dark;
    if (!this.#browsers.has(key)) {
      const options = { executablePath: this.#program, defaultViewport: null, ...this.#kind.options(dark) };
      this.#browsers.set(key, await puppeteer.launch(options));
    }
    return this.#browsers.get(key);
  }

  #page(number) {
    return this.#kept.get(number).page;
  }

  #keep(thing) {
    this.#kept.set(++this.#count, thing);
    return this.#count;
  }

  #taken(number) {
    const thing = this.#kept.get(number);
    this.#kept.delete(number);
    return thing;
  }
}

// What was seen of a page since it was loaded: see errors(), failures() and requests() in browser.py.
const nothing = () => ({ errors: [], failures: [], requests: [] });

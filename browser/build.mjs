// node build.mjs           write the client that the daemon serves into comet/static, and say how large it is
// node build.mjs --check   fail if what is there is not what the sources make
// node build.mjs --test    run tests/*.test.ts
//
// The same sources make the same bytes on any machine: the versions of the tools are exact, and nothing here depends on
// the time or on where this is. Names that end in "_" belong to the inside, and are made short.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const LARGEST = 6144; // of a script, with gzip
const BANNER = "/* Comet, MIT license */";
const SCRIPTS = [
  { name: "comet.mjs", entry: "src/module.ts", format: "esm" },
  { name: "comet.js", entry: "src/script.ts", format: "iife" },
];
const TYPES = "comet.d.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const served = fileURLToPath(new URL("../comet/static/", import.meta.url));

/** A script: bundled by esbuild, made small by terser, whose names compress better: 4 % of what is sent. */
async function bundled({ entry, format }) {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    format,
    bundle: true,
    mangleProps: /_$/,
    target: "es2020",
    write: false,
  });
  const { code } = await minify(outputFiles[0].text, {
    module: format === "esm",
    ecma: 2020,
    compress: { passes: 3 },
    format: { comments: false, preamble: BANNER },
  });
  return Buffer.from(code + "\n");
}

/** All that is served, by name. */
async function made() {
  const files = new Map();
  for (const script of SCRIPTS) files.set(script.name, await bundled(script));
  return files.set(TYPES, readFileSync(join(here, TYPES)));
}

/** Print the sizes; throw if a script is too large. */
function measure(files) {
  const rows = [...files].map(([name, bytes]) => [name, bytes.length, gzipSync(bytes, { level: 9 }).length]);
  for (const row of [["", "bytes", "gzip -9"], ...rows]) {
    console.log(row.map((cell, column) => (column ? String(cell).padStart(9) : cell.padEnd(10))).join(""));
  }
  for (const [name, , small] of rows) {
    if (name !== TYPES && small > LARGEST) {
      throw new Error(`${name} has ${small} bytes with gzip, and may have ${LARGEST}: make it smaller`);
    }
  }
}

function write(files) {
  for (const [name, bytes] of files) writeFileSync(join(served, name), bytes);
  measure(files);
}

function check(files) {
  for (const [name, bytes] of files) {
    if (!contents(join(served, name)).equals(bytes)) {
      throw new Error(`comet/static/${name} is not what the sources in browser/ make: run \`make browser\``);
    }
  }
  measure(files);
}

function contents(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code === "ENOENT") return Buffer.of();
    throw error;
  }
}

/** Run the tests, which Node cannot read as they are: it learned to skip types only lately. */
async function test() {
  const entryPoints = readdirSync(join(here, "tests")).filter((name) => name.endsWith(".test.ts"));
  if (!entryPoints.length) throw new Error("browser/tests has no *.test.ts: something is missing");
  const outdir = mkdtempSync(join(tmpdir(), "comet-tests-"));
  try {
    await build({
      absWorkingDir: join(here, "tests"),
      entryPoints,
      outdir,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node18",
      sourcemap: "inline",
    });
    const files = entryPoints.map((name) => join(outdir, name.replace(/ts$/, "mjs")));
    const options = ["--enable-source-maps", "--test", "--test-reporter=spec"];
    const { status } = spawnSync(process.execPath, [...options, ...files], { stdio: "inherit" });
    if (status !== 0) throw new Error("tests of the browser client failed");
  } finally {
    rmSync(outdir, { recursive: true });
  }
}

try {
  const { values } = parseArgs({ options: { check: { type: "boolean" }, test: { type: "boolean" } } });
  if (values.test) await test();
  else if (values.check) check(await made());
  else write(await made());
} catch (error) {
  if (!error.errors) console.error(error.message); // esbuild has said what is wrong itself
  process.exitCode = 1;
}

// Bundles react/ and svelte/ into built/. An application has a bundler that does this.
import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import { compile } from "svelte/compiler";

const svelte = {
  name: "svelte",
  setup({ onLoad }) {
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => ({
      contents: compile(await readFile(path, "utf8"), { filename: path }).js.code,
    }));
  },
};

await build({
  entryPoints: { react: "react/main.tsx", svelte: "svelte/main.js" },
  outdir: "built",
  bundle: true,
  format: "esm",
  plugins: [svelte],
});

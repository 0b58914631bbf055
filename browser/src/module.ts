/** The module `/comet.mjs`: the client, with the daemon that it came from as the default. */
import { Comet } from "./comet.ts";

Comet.from_ = import.meta.url;

export { Comet, Comet as default };

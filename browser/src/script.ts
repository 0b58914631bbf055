/** The classic script `/comet.js`: the global `Comet`, with the daemon that it came from as the default. */
import { Comet } from "./comet.ts";

// Only while the script runs is it known which one it is. In a worker it is the worker's own address.
Comet.from_ = (globalThis.document?.currentScript as HTMLScriptElement | null)?.src ?? location.href;

Object.assign(globalThis, { Comet });

/** What the two scripts define is what `comet.d.ts` promises, the constructor included. Only its types are checked. */
import type * as api from "../comet.d.ts";
import { Comet, default as Standard } from "../src/module.ts";

export const promised: (typeof api.Comet)[] = [Comet, Standard];

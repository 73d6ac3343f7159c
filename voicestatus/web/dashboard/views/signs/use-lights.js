/** The lights of the signs that are looked at, as a hook. */

import {useEffect, useReducer, useRef} from "../../vendor/preact.js";
import {get} from "../../api.js";
import {LightBook, askable} from "./lights.js";

/**
 * @param {import("../../live-state.js").Live} live
 * @returns {{of: (device: object) => ?object, see: (signs: object[]) => void}}
 */
export function useLights(live) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const seen = useRef([]);
  const latest = useRef(live);
  latest.current = live;
  const book = useRef(null);
  book.current ??= new LightBook({
    explain: (id) => get(`/devices/${encodeURIComponent(id)}/explain`),
    later: (call, ms) => setTimeout(call, ms),
    cancel: (timer) => clearTimeout(timer),
    changed: draw,
  });
  const look = () => book.current.want(askable(latest.current.devices.values(), seen.current));
  useEffect(look, [live.devices]);
  useEffect(() => book.current.stir(), [live.guilds]);
  useEffect(() => () => book.current.stop(), []);
  const see = (signs) => {
    seen.current = signs;
    look();
  };
  return {of: (device) => book.current.of(device), see};
}

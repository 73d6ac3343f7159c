/** What of a view stands in its address: one may share it, reload it, and go back. */

import {useEffect, useState} from "../../vendor/preact.js";

/**
 * One key of the query. A new value does not move the page, as the router's `go` does:
 * what lies below a sheet stays where it is.
 * @param {string} key
 * @param {URLSearchParams} query as the router has it
 * @returns {[string, (value: string) => void]} an empty value is none
 */
export function useAddressKey(key, query) {
  const [value, setValue] = useState(query.get(key) ?? "");
  useEffect(() => setValue(query.get(key) ?? ""), [query]);
  const set = (next) => {
    const here = new URL(location.href);
    if (next) here.searchParams.set(key, next);
    else here.searchParams.delete(key);
    // Who closes a sheet and goes back then does not want it open again.
    history[next && !value ? "pushState" : "replaceState"](null, "", here);
    setValue(next);
  };
  return [value, set];
}

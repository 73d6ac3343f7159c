/** Where in the page one is, and how one goes elsewhere without loading it anew. */

import {useCallback, useEffect, useRef, useState} from "./vendor/preact.js";
import {SIGN_IN, routeOf} from "./routes.js";

const here = () => new URL(location.href);
const spot = () => location.pathname + location.search;

/** A view with something unsaved may say no. */
const mayLeave = () => dispatchEvent(new Event("leaving", {cancelable: true}));

/** @returns {[URL, (to: string, options?: {replace?: boolean}) => void]} */
export function useLocation() {
  const [url, setUrl] = useState(here);
  // Entries of the history are numbered, to find the way back to one that is not left.
  const at = useRef(history.state?.at ?? 0);
  const shown = useRef(spot());

  const go = useCallback((to, {replace = false} = {}) => {
    if (!mayLeave()) return;
    if (!replace) at.current += 1;
    history[replace ? "replaceState" : "pushState"]({at: at.current}, "", to);
    shown.current = spot();
    setUrl(here());
    scrollTo(0, 0);
  }, []);

  useEffect(() => {
    const popped = ({state}) => {
      const same = spot() === shown.current;
      // What stands there without a number was put there by a view, or by a link to a part of it.
      const to = state?.at ?? at.current - Number(!same);
      if (!same && !mayLeave()) {
        history.go(at.current - to || 1);
        return;
      }
      at.current = to;
      shown.current = spot();
      setUrl(here());
    };
    const clicked = (event) => {
      const link = event.target.closest?.("a[href]");
      if (!link || link.target || link.hasAttribute("download") || event.button !== 0) return;
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const to = new URL(link.href);
      const ours = routeOf(to.pathname) || to.pathname === SIGN_IN;
      if (to.origin !== location.origin || !ours || event.defaultPrevented) return;
      if (to.pathname === location.pathname && to.hash) return;
      event.preventDefault();
      go(to.pathname + to.search + to.hash);
    };
    addEventListener("popstate", popped);
    document.addEventListener("click", clicked);
    return () => {
      removeEventListener("popstate", popped);
      document.removeEventListener("click", clicked);
    };
  }, [go]);
  return [url, go];
}

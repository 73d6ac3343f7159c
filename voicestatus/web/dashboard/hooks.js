/** What several views need of the browser and of the API. */

import {useCallback, useEffect, useReducer, useRef, useState} from "./vendor/preact.js";
import {get} from "./api.js";

let ids = 0;

/** An id for labels, the same as long as the component stands. */
export function useId() {
  const ref = useRef(null);
  ref.current ??= `id-${++ids}`;
  return ref.current;
}

/**
 * Read something of the API, and read it again every `everyS` seconds while the page is seen.
 *
 * What was read stays while it is read again; it goes when the path changes. A path of
 * null reads nothing.
 * @param {string | null} path
 * @param {{everyS?: number}} options
 * @returns {{data: any, error: Error | null, loading: boolean, askedAt: number, again: () => Promise<void>}}
 *   `loading`: nothing is there yet. `error`: of the last try; `data` may stand beside it.
 *   `askedAt`: when `data` was asked for, by `performance.now()`.
 */
export function useFetch(path, {everyS = 0} = {}) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const state = useRef({});
  const reading = useRef(null);
  if (state.current.path !== path) state.current = {path, data: undefined, error: null, askedAt: 0};

  const again = useCallback(async () => {
    if (path === null) return;
    reading.current?.abort();
    const mine = (reading.current = new AbortController());
    const askedAt = performance.now();
    let told;
    try {
      told = {data: await get(path, {signal: mine.signal}), askedAt, error: null};
    } catch (error) {
      if (error.name === "AbortError") return;
      told = {error};
    }
    if (mine.signal.aborted || state.current.path !== path) return;
    state.current = {...state.current, ...told};
    redraw();
  }, [path]);

  useEffect(() => {
    again();
    return () => reading.current?.abort();
  }, [again]);
  useEvery(everyS, again);

  const {data, error, askedAt} = state.current;
  return {data, error, askedAt, loading: path !== null && data === undefined && !error, again};
}

/** Call something every so many seconds, not while the page is hidden; 0: never. */
export function useEvery(seconds, call) {
  const latest = useRef(call);
  latest.current = call;
  useEffect(() => {
    if (!seconds) return undefined;
    let last = Date.now();
    const tick = () => {
      if (document.hidden || Date.now() - last < seconds * 900) return;
      last = Date.now();
      latest.current();
    };
    const timer = setInterval(tick, seconds * 1000);
    // Who comes back does not look at what is old.
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [seconds]);
}

/**
 * Do one thing at a time: `[run, busy, error]`. `run` gives what `work` gave, or
 * undefined when it failed: then `error` is set until the next run.
 * @template T
 * @param {(...args: any[]) => Promise<T>} work
 */
export function useAction(work) {
  const [state, setState] = useState({busy: false, error: null});
  const run = async (...args) => {
    setState({busy: true, error: null});
    try {
      const done = await work(...args);
      setState({busy: false, error: null});
      return done;
    } catch (error) {
      setState({busy: false, error});
      return undefined;
    }
  };
  return [run, state.busy, state.error];
}

/** The time in milliseconds, told anew every so many seconds. */
export function useNow(everyS = 30) {
  const [now, setNow] = useState(Date.now);
  useEvery(everyS, () => setNow(Date.now()));
  return now;
}

/** Something small that this browser remembers. */
export function useStored(key, initial) {
  const [value, setValue] = useState(() => stored(key) ?? initial);
  const keep = (next) => {
    setValue(next);
    try {
      if (next === null) localStorage.removeItem(key);
      else localStorage.setItem(key, next);
    } catch {
      // Storage is switched off: it is remembered until the page is closed.
    }
  };
  return [value, keep];
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

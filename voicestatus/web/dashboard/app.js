/** The page: who is signed in, which community is looked at, which view is shown. */

import {html, render, useCallback, useEffect, useMemo, useRef, useState} from "./vendor/preact.js";
import {get, onSignedOut, send, useCsrf} from "./api.js";
import {Button, Empty, ErrorNote, Loading, Page, Toasts, toast} from "./ui.js";
import {ROUTES, SIGN_IN, routeOf, safeNext, sees} from "./routes.js";
import {useFetch, useStored} from "./hooks.js";
import {Shell} from "./shell.js";

const here = () => new URL(location.href);

/** Where one is, and how one goes elsewhere; links of the page do not load it anew. */
function useLocation() {
  const [url, setUrl] = useState(here);
  const go = useCallback((to, {replace = false} = {}) => {
    // A view with something unsaved may say no.
    if (!dispatchEvent(new Event("leaving", {cancelable: true}))) return;
    history[replace ? "replaceState" : "pushState"](null, "", to);
    setUrl(here());
    scrollTo(0, 0);
  }, []);
  useEffect(() => {
    const popped = () => setUrl(here());
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

const loaded = new Map();

/** Load a view's module, and its style sheet with it. */
function load(name) {
  if (!loaded.has(name)) {
    const style = new Promise((resolve) => {
      const link = document.createElement("link");
      link.rel = "stylesheet";
      link.href = new URL(`views/${name}.css`, import.meta.url).href;
      link.onload = link.onerror = resolve; // a view may have none
      document.head.append(link);
    });
    const both = Promise.all([import(`./views/${name}.js`), style]);
    loaded.set(name, both.then(([module]) => module.default));
    both.catch(() => loaded.delete(name));
  }
  return loaded.get(name);
}

// On its way while it is asked who one is.
const wanted = routeOf(location.pathname);
if (wanted) load(wanted.view).catch(() => {}); // told when it is shown

/** A view of `views/`, as soon as it is there. */
function View({name, ...props}) {
  const [{of, Shown, failed}, setState] = useState({});
  useEffect(() => {
    let wanted = true;
    load(name).then(
      (Shown) => wanted && setState({of: name, Shown}),
      () => wanted && setState({of: name, failed: true}),
    );
    return () => {
      wanted = false;
    };
  }, [name]);
  if (of !== name) return html`<${Loading} />`;
  if (failed) return html`<${Outdated} />`;
  return html`<${Shown} ...${props} />`;
}

function Outdated() {
  return html`<${Empty}
    icon="refresh" title="This part of the page did not load"
    action=${html`<${Button} kind="primary" onClick=${() => location.reload()}>Reload<//>`}
  >The server may have been updated, or it cannot be reached.<//>`;
}

function App() {
  const [url, go] = useLocation();
  const [session, setSession] = useState({});
  const look = useCallback(async () => {
    try {
      const me = await get("/me");
      useCsrf(me.csrfToken);
      setSession({me});
    } catch (error) {
      setSession(error.status === 401 ? {me: null} : {error});
    }
  }, []);
  useEffect(() => {
    onSignedOut(() => setSession((before) => (before.me === null ? before : {me: null})));
    look();
  }, [look]);

  const next = url.pathname === SIGN_IN ? safeNext(url.searchParams.get("next")) : url.pathname + url.search;
  const {me, error} = session;
  if (error) return html`<main><${ErrorNote} error=${error} again=${look} /></main>`;
  if (me === undefined) return html`<${Waiting} />`;
  if (me === null) {
    const signedIn = async () => {
      await look();
      if (url.pathname === SIGN_IN) go(next, {replace: true});
    };
    return html`<main><${View} name="sign-in" next=${next} signedIn=${signedIn} /></main><${Toasts} />`;
  }
  return html`<${SignedIn} ...${{me, url, go, look}} />`;
}

/** What index.html has, too: so nothing moves when the script comes. */
function Waiting() {
  return html`<header class="top"><div class="top-row">
    <a class="brand" href="/"><span class="brand-mark"></span><span class="brand-word">voicestatus</span></a>
  </div></header>`;
}

function SignedIn({me, url, go, look}) {
  const {data, error, loading, again} = useFetch("/organizations");
  const [chosen, keepChosen] = useStored("organization", null);
  const orgs = useMemo(() => (data?.organizations ?? []).map(withRights), [data]);
  const asked = url.searchParams.get("org") ?? chosen;
  const org = orgs.find((each) => each.id === asked) ?? orgs[0] ?? null;
  const route = routeOf(url.pathname);

  useEffect(() => {
    if (url.pathname === SIGN_IN) go(safeNext(url.searchParams.get("next")), {replace: true});
  }, [url, go]);
  const first = useRef(true);
  useEffect(() => {
    // Who hears the page instead of seeing it is taken along to the new view.
    if (!first.current) document.getElementById("main")?.focus();
    first.current = false;
  }, [url.pathname]);

  const chooseOrg = (id) => {
    keepChosen(id);
    if (url.searchParams.has("org")) go(url.pathname);
  };
  const signOut = async (everywhere) => {
    try {
      await send("POST", `/auth/logout${everywhere ? "?everywhere=true" : ""}`);
    } catch (error) {
      if (error.status !== 401) return toast(error.message, "bad");
    }
    return look();
  };
  const query = useMemo(() => url.searchParams, [url]);
  const shell = {me, orgs, org, path: route?.path, chooseOrg, signOut};
  const props = {me, org, orgs, go, query, signOut, reloadOrgs: again};

  let view;
  if (!route) view = html`<${Lost} />`;
  else if (loading) view = html`<${Loading} />`;
  else if (error && !data) view = html`<${ErrorNote} error=${error} again=${again} />`;
  else if (!sees(route, me, org)) view = html`<${NotForYou} label=${route.label} />`;
  // Another community is another view: nothing of the one before may stay.
  else view = html`<${View} key=${`${route.view} ${org?.id}`} name=${route.view} ...${props} />`;
  return html`<${Shell} ...${shell}>${view}<//>`;
}

function withRights(org) {
  return {...org, manager: org.role === "manager"};
}

function Lost() {
  return html`<${Page} title="Not found"><${Empty}
    icon="search" title="There is no such view"
    action=${html`<${Button} href="/">To the overview<//>`}
  /><//>`;
}

function NotForYou({label}) {
  const known = ROUTES.find((route) => route.label === label);
  const who = known?.who === "admin" ? "the owner of this server" : "people who manage this community";
  return html`<${Page} title=${label}><${Empty}
    icon="lock" title=${`${label} is for ${who}`}
    action=${html`<${Button} href="/">To the overview<//>`}
  /><//>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);

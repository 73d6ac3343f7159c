/** The page: who is signed in, which community is looked at, which view is shown. */

import {
  html, render, useCallback, useEffect, useErrorBoundary, useMemo, useRef, useState,
} from "./vendor/preact.js";
import {get, onSignedOut, send, setCsrf} from "./api.js";
import {Button, Callout, Empty, ErrorNote, Loading, Page, Toasts, toast} from "./ui.js";
import {ROUTES, SIGN_IN, routeOf, safeNext, sees} from "./routes.js";
import {useAction, useFetch, useStored} from "./hooks.js";
import {Outside, Shell} from "./shell.js";
import {useLocation} from "./location.js";

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
  const [broken] = useErrorBoundary((error) => console.error(error));
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
  if (broken) return html`<${Broken} error=${broken} />`;
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

function Broken({error}) {
  return html`<${Empty}
    icon="alert" title="This view broke"
    action=${html`<${Button} kind="primary" onClick=${() => location.reload()}>Reload<//>`}
  >That is our fault: ${error.message}<//>`;
}

function App() {
  const [url, go] = useLocation();
  const [session, setSession] = useState({});
  const look = useCallback(async () => {
    try {
      const me = await get("/me");
      setCsrf(me.csrfToken);
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
    const route = routeOf(url.pathname);
    if (route?.open) return html`<${Outside}><${View} name=${route.view} me=${null} /><//>`;
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
  const lookAgain = () => Promise.all([look(), again()]);
  const query = useMemo(() => url.searchParams, [url]);
  const shell = {me, orgs, org, path: route?.path, chooseOrg, signOut};
  const props = {me, org, orgs, go, query, signOut, reloadOrgs: again};

  let view;
  if (!route) view = html`<${Lost} />`;
  else if (loading) view = html`<${Loading} />`;
  else if (error && !data) view = html`<${ErrorNote} error=${error} again=${lookAgain} />`;
  else if (!sees(route, me, org)) view = me.doubt ? null : html`<${NotForYou} label=${route.label} />`;
  // Another community is another view: nothing of the one before may stay.
  else view = html`<${View} key=${`${route.view} ${org?.id}`} name=${route.view} ...${props} />`;
  if (me.doubt && data) view = html`<div class="stack"><${InDoubt} again=${lookAgain} />${view}</div>`;
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

/** `/me` could not say what one may. */
function InDoubt({again}) {
  const [run, busy] = useAction(again);
  return html`<${Callout} tone="warn" title="Discord does not answer"
    actions=${html`<${Button} small icon="refresh" busy=${busy} onClick=${run}>Try again<//>`}
  >Until it does, nobody can tell what else you may do here.<//>`;
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

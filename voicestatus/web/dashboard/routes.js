/** The views: where they stand, and who sees them. Pure. */

/**
 * @typedef {{path: string, view: string, label: string, who: "anybody" | "manager" | "admin",
 *   open?: boolean, apart?: boolean}} Route
 *   `open`: who is not signed in sees it, too; `apart`: it is not in the navigation
 */

/** In the order of the navigation. `/health` is the server's health check. */
/** @type {Route[]} */
export const ROUTES = [
  {path: "/", view: "overview", label: "Overview", who: "anybody"},
  {path: "/signs", view: "signs", label: "Signs", who: "admin"},
  {path: "/firmware", view: "firmware", label: "Firmware", who: "admin"},
  {path: "/flash", view: "flash", label: "Flash", who: "admin"},
  {path: "/system", view: "health", label: "Health", who: "admin"},
  {path: "/settings", view: "settings", label: "Settings", who: "manager"},
  {path: "/privacy", view: "privacy", label: "Privacy", who: "anybody", open: true},
  {path: "/account", view: "account", label: "Account", who: "anybody", apart: true},
];

/** Where one signs in; it is not in the navigation. */
export const SIGN_IN = "/sign-in";

/**
 * Find the view of a path.
 * @param {string} path
 * @returns {Route | undefined}
 */
export function routeOf(path) {
  return ROUTES.find((route) => route.path === path);
}

/**
 * Tell whether somebody sees a view.
 * @param {Route} route
 * @param {{level: string}} me
 * @param {{manager?: boolean} | null} org the organization that is looked at
 */
export function sees(route, me, org) {
  if (me.level === "admin" || route.who === "anybody") return true;
  return route.who === "manager" && Boolean(org?.manager);
}

/**
 * Take where somebody wants to go only if it is a path of ours.
 * @param {string | null} next
 */
export function safeNext(next) {
  if (!next || !next.startsWith("/")) return "/";
  const url = new URL(next, "https://here.invalid");
  return url.origin === "https://here.invalid" ? url.pathname + url.search : "/";
}

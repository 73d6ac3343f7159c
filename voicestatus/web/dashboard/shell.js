/** What stands around each view: the bar with the navigation and the menus. */

import {html, useEffect, useRef} from "./vendor/preact.js";
import {Avatar, Button, Icon, Menu, MenuItem, Toasts} from "./ui.js";
import {ROUTES, SIGN_IN, sees} from "./routes.js";
import {useStored} from "./hooks.js";

const THEMES = [
  {id: null, label: "As the system", icon: "theme"},
  {id: "light", label: "Light", icon: "sun"},
  {id: "dark", label: "Dark", icon: "moon"},
];
const LEVELS = {admin: "Admin", member: "Member", guest: "Guest"};

/** The bar, and the view below it. */
export function Shell({me, orgs, org, path, chooseOrg, signOut, children}) {
  const nav = useRef(null);
  useEffect(() => {
    // On a phone it scrolls sideways: where one is has to be seen.
    nav.current.querySelector("[aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});
  }, [path]);
  const shown = ROUTES.filter((route) => !route.apart && sees(route, me, org));
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <div class="top-row">
        <a class="brand" href="/" aria-label="voicestatus"><span class="brand-mark"></span><span class="brand-word">voicestatus</span></a>
        <nav class="nav" aria-label="Views" ref=${nav}>
          ${shown.map((route) => html`<a
            key=${route.path} href=${route.path}
            aria-current=${route.path === path ? "page" : undefined}
          >${route.label}</a>`)}
        </nav>
        <div class="top-end">
          <${OrgSwitcher} orgs=${orgs} org=${org} chooseOrg=${chooseOrg} />
          <${Account} me=${me} signOut=${signOut} />
        </div>
      </div>
    </header>
    <main id="main" tabindex="-1">${children}</main>
    <${Toasts} />
  `;
}

/** The same around a view for who is not signed in. */
export function Outside({children}) {
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <div class="top-row">
        <a class="brand" href="/" aria-label="voicestatus"><span class="brand-mark"></span><span class="brand-word">voicestatus</span></a>
        <div class="top-end"><${Button} small href=${SIGN_IN}>Sign in<//></div>
      </div>
    </header>
    <main id="main" tabindex="-1">${children}</main>
    <${Toasts} />
  `;
}

function OrgSwitcher({orgs, org, chooseOrg}) {
  if (!org) return null;
  if (orgs.length < 2) return html`<span class="org-button"><span class="clip">${org.name}</span></span>`;
  return html`<${Menu} label=${`Community: ${org.name}`} button=${html`<span class="org-button">
    <span class="clip">${org.name}</span><${Icon} name="chevronDown" size=${15} />
  </span>`}>
    ${orgs.map((each) => html`<${MenuItem}
      key=${each.id} checked=${each.id === org.id} onClick=${() => chooseOrg(each.id)}
    >${each.name}<//>`)}
  <//>`;
}

function Account({me, signOut}) {
  const [theme, setTheme] = useTheme();
  const name = me.user?.displayName ?? "Admin token";
  return html`<${Menu} label="Account" button=${html`<${Avatar} name=${name} url=${me.user?.avatarUrl} size=${28} />`}>
    <div class="menu-about">
      <p class="strong">${name}</p>
      <p class="muted small">${LEVELS[me.level] ?? me.level}</p>
    </div>
    <div class="menu-line"></div>
    <div class="menu-title" id="theme-title">Theme</div>
    ${THEMES.map(({id, label, icon}) => html`<${MenuItem}
      key=${label} icon=${icon} checked=${theme === id} onClick=${() => setTheme(id)}
    >${label}<//>`)}
    <div class="menu-line"></div>
    <${MenuItem} icon="key" href="/account">Account and sessions<//>
    <${MenuItem} icon="signOut" onClick=${() => signOut(false)}>Sign out<//>
  <//>`;
}

function useTheme() {
  const [theme, keep] = useStored("theme", null);
  const choose = (next) => {
    keep(next);
    if (next === null) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
  };
  return [theme, choose];
}

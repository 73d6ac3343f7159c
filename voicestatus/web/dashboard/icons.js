/** The icons: strokes of 1.75 in a square of 24, in the colour of the text. */

import {html} from "./vendor/preact.js";

const PATHS = {
  alert: "M12 8v5m0 3.5v.01M10.3 3.9 2.4 17.5A2 2 0 0 0 4.1 20.5h15.8a2 2 0 0 0 1.7-3L13.7 3.9a2 2 0 0 0-3.4 0Z",
  arrowRight: "M5 12h14m-6-6 6 6-6 6",
  bolt: "M13 2.5 4.5 13.5H12l-1 8 8.5-11H12l1-8Z",
  bot: "M12 3v4M6 7h12a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2Zm3 5v2m6-2v2",
  check: "m5 12.5 4.5 4.5L19 7.5",
  checkCircle: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm-4-9 3 3 5.5-6",
  chevronDown: "m6 9 6 6 6-6",
  chevronRight: "m9 6 6 6-6 6",
  chevronUp: "m6 15 6-6 6 6",
  chip: "M7 7h10v10H7zM9 3v4m6-4v4M9 17v4m6-4v4M3 9h4m-4 6h4m10-6h4m-4 6h4",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-14v5l3.5 2",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  deaf: "M4 14v-2a8 8 0 0 1 12.5-6.6M20 11.5V14m-2 6h-1.5a1 1 0 0 1-1-1v-3.5M4 14h3.5v5a1 1 0 0 1-1 1H6a2 2 0 0 1-2-2v-4ZM3 3l18 18",
  dots: "M5 12v.01M12 12v.01M19 12v.01",
  download: "M12 4v11m-5-4.5 5 5 5-5M5 20h14",
  edit: "M4 20h4L19 9l-4-4L4 16v4Zm9-13 4 4",
  external: "M14 4h6v6m0-6L11 13M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5",
  filter: "M4 6h16M7 12h10m-7 6h4",
  flash: "M12 3v10m-4-4 4 4 4-4M5 15v4a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-4",
  gear: "M12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM19.4 13.5l1.7 1.3-2 3.4-2-.8a7.6 7.6 0 0 1-2.6 1.5L14.2 21h-4l-.4-2.1a7.6 7.6 0 0 1-2.6-1.5l-2 .8-2-3.4 1.7-1.3a7.7 7.7 0 0 1 0-3L3.200 9.200l2-3.400 2 .8a7.600 7.600 0 0 1 2.600-1.500L10.200 3h4l.4 2.100a7.600 7.600 0 0 1 2.600 1.500l2-.8 2 3.400-1.800 1.300a7.700 7.700 0 0 1 0 3Z",
  grip: "M9 6v.01M15 6v.01M9 12v.01M15 12v.01M9 18v.01M15 18v.01",
  hash: "M9.500 4 7.500 20m9-16-2 16M4.500 9H20m-.5 6H4",
  home: "M4 11 12 4l8 7v8a1 1 0 0 1-1 1h-4.500v-6h-5v6H5a1 1 0 0 1-1-1v-8Z",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-10v5m0-8v.01",
  key: "M14.500 13.500a4.500 4.500 0 1 0-4.300-3.200L4 16.500V20h3.500v-2.500H10V15l1.300-1.300a4.500 4.500 0 0 0 3.200-.2ZM15.500 8.500v.01",
  lamp: "M9 18h6m-5 3h4M8.500 15C6.500 13.800 5.500 11.900 5.500 9.800a6.500 6.500 0 0 1 13 0c0 2.100-1 4-3 5.200V18h-7v-3Z",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 1 0 13 5.300l-1 1m2 3.700a4 4 0 0 0-5.700 0l-3 3A4 4 0 1 0 11 18.700l1-1",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M5.500 11h13v9h-13z",
  megaphone: "M4 10v4h3l8 4.500v-13L7 10H4Zm14.500-1a4 4 0 0 1 0 6M8 14v5h2.500",
  menu: "M4 7h16M4 12h16M4 17h16",
  message: "M4 5h16v11H9.500L5 20v-4H4z",
  minus: "M5 12h14",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10Z",
  mute: "M9 9.500V6a3 3 0 0 1 6 0v5m-.9 3A3 3 0 0 1 9 12M5.500 11.500A6.500 6.500 0 0 0 16 16.700M18.500 11.500c0 .8-.1 1.500-.4 2.200M12 18v3M3 3l18 18",
  phone: "M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1Zm3 15h2",
  pause: "M8 5v14m8-14v14",
  people: "M9 11.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM2.500 19.500a6.500 6.500 0 0 1 13 0M16 4.800a3.500 3.500 0 0 1 0 6.400m2 3.300a6.500 6.500 0 0 1 3.500 5",
  play: "M7 4.500v15l12-7.500-12-7.500Z",
  plus: "M12 5v14m-7-7h14",
  power: "M12 3v8M6.300 6.800a8 8 0 1 0 11.400 0",
  pulse: "M3 12h4l2.500-7 5 14 2.500-7h4",
  refresh: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L20 9.300M20 4v5.300h-5.300",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13Zm4.700-1.800L20.500 20.500",
  shield: "M12 3 4.500 6v5.500c0 4.500 3.100 8 7.500 9.500 4.400-1.500 7.500-5 7.500-9.500V6L12 3Z",
  signOut: "M14 4h4a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1h-4M10 8l-4.500 4L10 16m-4.500-4H15",
  stage: "M12 14.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5ZM7.500 16.500a6.400 6.400 0 1 1 9 0M5 19a10 10 0 1 1 14 0M12 14.500V21",
  stop: "M6.500 6.500h11v11h-11z",
  stream: "M4 5h16v11H4zM9 20h6M12 16v4",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm0-13v2m0 14v2M3 12h2m14 0h2M5.600 5.600 7 7m10 10 1.400 1.400M5.600 18.400 7 17M17 7l1.400-1.400",
  tag: "M4 4h8l8.500 8.500-8 8L4 12V4Zm4.500 4.500v.01",
  theme: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-18v18m0-4a5 5 0 0 0 0-10",
  trash: "M4.500 7h15M9.500 7V4.500h5V7M6.500 7l1 13h9l1-13M10 11v5m4-5v5",
  upload: "M12 16V5m-5 4.500 5-5 5 5M5 20h14",
  user: "M12 11.500a3.800 3.800 0 1 0 0-7.600 3.800 3.800 0 0 0 0 7.600ZM4.500 20.500a7.500 7.500 0 0 1 15 0",
  video: "M4 7h11v10H4zM15 11l5.500-3.500v9L15 13",
  voice: "M4 9.500v5h3.500L12 18.500v-13L7.500 9.500H4ZM15.500 9a4 4 0 0 1 0 6M18 6.500a7.600 7.600 0 0 1 0 11",
  wifi: "M12 19v.01M8.500 15.500a5 5 0 0 1 7 0M5.500 12.500a9.300 9.300 0 0 1 13 0M2.500 9.300a13.600 13.600 0 0 1 19 0",
  x: "M6 6l12 12M18 6 6 18",
};

/** The names that there are. */
export const ICONS = Object.keys(PATHS);

/**
 * An icon. Without a label it is decoration, and not read aloud.
 * @param {{name: keyof PATHS, size?: number, label?: string, class?: string}} props
 */
export function Icon({name, size = 18, label, class: more = ""}) {
  return html`<svg
    class=${`icon ${more}`}
    width=${size}
    height=${size}
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="1.75"
    stroke-linecap="round"
    stroke-linejoin="round"
    role=${label ? "img" : undefined}
    aria-label=${label}
    aria-hidden=${label ? undefined : "true"}
  ><path d=${PATHS[name]} /></svg>`;
}

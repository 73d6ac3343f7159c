/** Chooses several of many: what is chosen as chips, the rest found by typing. */

import {html, useRef, useState} from "../../vendor/preact.js";
import {useId} from "../../hooks.js";
import {Field, Icon, classes} from "../../ui.js";

const MOST_SHOWN = 60;

/**
 * @typedef {{id: string, label: string, group?: string, detail?: string}} Option
 * @param {object} props
 * @param {string} props.label
 * @param {Option[]} props.options
 * @param {string[]} props.value
 * @param {(value: string[]) => void} props.onChange
 * @param {(text: string) => ?string} [props.take] what is typed and is no option: its id
 * @param {string} [props.placeholder] while nothing is chosen: what that means
 * @param {(id: string) => string} [props.name] of one that is chosen
 */
export function Picker({
  label, hint, error, options, value, onChange, take = () => null, placeholder, name = (id) => id,
}) {
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const input = useRef(null);
  const list = useId();
  const found = open ? matching(options, value, text, take) : [];
  const active = Math.min(at, found.length - 1);

  const add = (id) => {
    onChange([...value, id]);
    setText("");
    setAt(0);
    setOpen(false); // it lies above what comes next
  };
  const remove = (id) => {
    onChange(value.filter((one) => one !== id));
    input.current.focus();
  };
  const move = (to) => {
    setOpen(true);
    setAt((to + found.length) % Math.max(1, found.length));
  };
  const onKeyDown = (event) => {
    const {key} = event;
    if (key === "ArrowDown") move(open ? active + 1 : 0);
    else if (key === "ArrowUp") move(active - 1);
    else if (key === "Enter" && open && found[active]) add(found[active].id);
    else if (key === "Escape" && open) setOpen(false);
    else if (key === "Backspace" && text === "" && value.length > 0) remove(value.at(-1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const onInput = (event) => {
    setText(event.currentTarget.value);
    setOpen(true);
    setAt(0);
  };

  return html`<${Field} ...${{label, hint, error}}>${(props) => html`<div
    class=${classes("picker", open && "open")}
    onPointerDown=${(event) => event.target === event.currentTarget && setTimeout(() => input.current.focus())}
  >
    ${value.map((id) => html`<span class="chip" key=${id}>${name(id)}<button
      type="button" aria-label=${`Remove ${name(id)}`} onClick=${() => remove(id)}
    ><${Icon} name="x" size=${13} /></button></span>`)}
    <input
      ...${props} ref=${input} type="text" role="combobox" autocomplete="off" value=${text}
      aria-expanded=${String(found.length > 0)} aria-controls=${found.length > 0 ? list : undefined} aria-autocomplete="list"
      aria-activedescendant=${open && found[active] ? `${list}-${active}` : undefined}
      placeholder=${value.length === 0 ? placeholder : ""}
      onInput=${onInput} onKeyDown=${onKeyDown}
      onFocus=${() => setOpen(true)} onClick=${() => setOpen(true)} onBlur=${() => setOpen(false)}
    />
    ${found.length > 0 && html`<ul class="picker-list" id=${list} role="listbox" aria-label=${label}>
      ${found.map((option, n) => html`<li
        key=${option.id} id=${`${list}-${n}`} role="option" aria-selected=${String(n === active)}
        class=${classes("picker-option", n === active && "active")}
        ref=${n === active ? visible : undefined}
        onPointerDown=${keepFocus} onClick=${() => add(option.id)}
      >${option.group && option.group !== found[n - 1]?.group
          ? html`<span class="picker-group">${option.group}</span>`
          : null}
        <span class="picker-label">${option.label}</span>
        ${option.detail && html`<span class="muted small">${option.detail}</span>`}
      </li>`)}
    </ul>`}
  </div>`}<//>`;
}

/** Tags: those that there are, and new ones. */
export function TagPicker({tags, ...rest}) {
  const options = [...tags].map(([id, n]) => ({id, label: id, detail: String(n)}));
  const take = (text) => (/^\S{1,64}$/u.test(text) ? text : null);
  return html`<${Picker} options=${options} take=${take} ...${rest} />`;
}

function matching(options, value, text, take) {
  const wanted = text.trim().toLowerCase();
  const chosen = new Set(value);
  const found = [];
  for (const option of options) {
    if (found.length === MOST_SHOWN) break;
    if (chosen.has(option.id)) continue;
    const heard = `${option.label} ${option.group ?? ""} ${option.id}`.toLowerCase();
    if (heard.includes(wanted)) found.push(option);
  }
  const own = wanted ? take(text.trim()) : null;
  if (own !== null && !chosen.has(own) && !options.some(({id}) => id === own)) {
    found.push({id: own, label: own, detail: "as typed"});
  }
  return found;
}

function keepFocus(event) {
  event.preventDefault();
}

function visible(element) {
  element?.scrollIntoView({block: "nearest"});
}

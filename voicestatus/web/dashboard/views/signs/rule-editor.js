/** A sign's rule, edited: what it would show is seen before it is saved. */

import {html, useEffect, useRef, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, ErrorNote, Textarea, classes, toast} from "../../ui.js";
import {draftOf, problemOf, readRule, ruleOf, sameRule} from "./rule-draft.js";
import {explained} from "./rule-words.js";
import {RuleForm} from "./rule-form.js";
import {Verdict} from "./why.js";

const TRY_AFTER_MS = 250;

/**
 * @param {object} props
 * @param {object} props.device
 * @param {string} props.path of the device, in the API
 * @param {import("./directory.js").Directory} props.directory
 * @param {(edited: boolean) => void} props.onEdited whether something is not saved
 */
export function RuleEditor({device, path, directory, onEdited}) {
  const [draft, setDraft] = useState(() => draftOf(device.rule));
  const [text, setText] = useState(null);
  const read = text === null ? {rule: ruleOf(draft), problem: ""} : readRule(text);
  const {told, error, current} = useDryRun(read.rule, directory);
  const edited = read.rule === null || !sameOrWrong(read.rule, device.rule ?? {});
  useEffect(() => onEdited(edited), [edited]);
  useEffect(() => () => onEdited(false), []);

  // An expert's text fills the form only if the server takes it.
  const fits = text === null || (current && told !== null && !error);
  const showForm = () => {
    setDraft(draftOf(read.rule));
    setText(null);
  };
  const showText = () => setText(text ?? JSON.stringify(ruleOf(draft), null, 2));
  const reset = (rule) => {
    setDraft(draftOf(rule));
    setText((was) => (was === null ? null : JSON.stringify(rule ?? {}, null, 2)));
  };
  const [save, saving, refused] = useAction(async () => {
    const empty = Object.keys(read.rule).length === 0;
    const {rule} = await send("PATCH", path, {rule: empty ? null : read.rule});
    reset(rule);
    toast("Saved. It shows at once", "good");
  });
  const problem = problemOf(refused ?? error ?? {message: ""});

  return html`<div class="rule-editor">
    <div class="pills" role="group" aria-label="How to edit">
      <button
        type="button" class="pill" aria-pressed=${String(text === null)} disabled=${!fits} onClick=${showForm}
      >Form</button>
      <button type="button" class="pill" aria-pressed=${String(text !== null)} onClick=${showText}>JSON</button>
    </div>
    ${text === null
      ? html`<${RuleForm} draft=${draft} onDraft=${setDraft} directory=${directory} problem=${problem} />`
      : html`<${Textarea}
          label="The rule" class="rule-json mono" rows="14" spellcheck=${false} value=${text} onInput=${setText}
          hint="What is left out has its default: docs/rules.md has all keys."
          error=${read.problem || (problem.message && `${problem.key ? `${problem.key}: ` : ""}${problem.message}`)}
        />`}
    <div class="rule-result">
      ${error && text === null && html`<p class="wrong-note" role="alert">${problem.field
        ? "A field above is not right yet."
        : problem.message}</p>`}
      ${!error && told && html`<div class=${classes("rule-told", !current && "dimmed")}>
        <${Verdict} told=${told} lead=${edited ? "With this rule it would be, now" : "With its rule it is, now"} />
        ${edited && html`<${Besides} told=${told} />`}
      </div>`}
      ${refused && html`<${ErrorNote} error=${refused} />`}
      <div class="row end">
        ${device.rule !== null && !edited && html`<${Button} kind="quiet" onClick=${() => reset(null)}>Clear<//>`}
        ${edited && html`<${Button} kind="quiet" onClick=${() => reset(device.rule)}>Discard<//>`}
        <${Button} kind="primary" busy=${saving} disabled=${!edited || !current || Boolean(error)}
          onClick=${save}>Save the rule<//>
      </div>
    </div>
  </div>`;
}

/** Who else is there, and what runs. */
function Besides({told}) {
  const {excluded, pending} = explained(told);
  const words = [...excluded, ...pending];
  return words.length > 0 && html`<p class="muted small">${words.join("; ")}.</p>`;
}

/**
 * Try a rule whenever it, or who is in voice, is different (`stir`); `current`: what is told
 * is of this rule.
 */
function useDryRun(rule, stir) {
  const [state, setState] = useState({of: "", told: null, error: null});
  const text = rule === null ? "" : JSON.stringify(rule);
  const first = useRef(true);
  useEffect(() => {
    if (!text) return undefined;
    const stop = new AbortController();
    const tryIt = async () => {
      try {
        const told = await send("POST", "/rules/dry-run", {rule: JSON.parse(text)}, {signal: stop.signal});
        setState({of: text, told, error: null});
      } catch (error) {
        if (error.name !== "AbortError") setState(({told}) => ({of: text, told, error}));
      }
    };
    const timer = setTimeout(tryIt, first.current ? 0 : TRY_AFTER_MS);
    first.current = false;
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text, stir]);
  return {told: state.told, error: state.error, current: state.of === text && text !== ""};
}

function sameOrWrong(rule, saved) {
  try {
    return sameRule(rule, saved);
  } catch {
    return false; // no list where there should be one: the server says so
  }
}

// Keeps a page fresh: looks again when the server says so, and says so when it cannot.
// What is open, typed, selected or focused stays as it is. A form is sent once.

const SILENCE = 12_000; // ms without a word after which the stream is not relied on
const EVERY = 5_000; // ms between two looks without it

const SHARE = 10; // a page that takes long is asked for rarely

let stream;
let rests = 0; // until when not to look
let again; // the look that waits for that
let heard = 0;
let refreshing = false;
let composing = false;

function formName(form) {
  if (!form) return "";
  const hidden = [...form.querySelectorAll("input[type=hidden]")]
    .filter((field) => !["seal", "once"].includes(field.name))
    .map((field) => `${field.name}=${field.value}`);
  return [form.getAttribute("action"), ...hidden].join(" ");
}

function fieldName(field) {
  const ticked = ["checkbox", "radio"].includes(field.type) ? field.value : "";
  return field.id || `${formName(field.form)} ${field.name} ${ticked}`;
}

function fields(root) {
  const found = root.querySelectorAll("input:not([type=hidden]), select, textarea, button");
  return new Map([...found].map((field) => [fieldName(field), field]));
}

function named(root, id) {
  return id ? root.querySelector(`#${CSS.escape(id)}`) : null;
}

function counterpart(focused, fresh, now) {
  const address = focused.getAttribute("href");
  if (address) return fresh.querySelector(`a[href="${CSS.escape(address)}"]`);
  if (focused.tagName === "SUMMARY") return named(fresh, focused.parentElement.id)?.firstElementChild;
  return now.get(fieldName(focused)) ?? named(fresh, focused.id);
}

function keep(old, fresh) {
  for (const open of old.querySelectorAll("details[open][id]")) {
    named(fresh, open.id)?.setAttribute("open", "");
  }
  const now = fields(fresh);
  for (const [name, field] of fields(old)) {
    const same = now.get(name);
    if (!same || field.tagName === "BUTTON") continue;
    if (field.checked !== field.defaultChecked) same.checked = field.checked;
    if (field.tagName === "SELECT" || field.value !== field.defaultValue) same.value = field.value;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  if (!focused) return () => {};
  const same = counterpart(focused, fresh, now);
  return () => {
    same?.focus({ preventScroll: true });
    if (focused.selectionStart != null && same?.setSelectionRange) {
      same.setSelectionRange(focused.selectionStart, focused.selectionEnd);
    }
  };
}

async function refresh() {
  const busy = composing || document.activeElement?.tagName === "SELECT";
  if (refreshing || busy || document.hidden || !getSelection().isCollapsed) return;
  if (Date.now() < rests) return (again ||= setTimeout(refresh, rests - Date.now()));
  refreshing = true;
  again = clearTimeout(again);
  const began = Date.now();
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.status === 401) return location.reload(); // which asks for the token
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [old, fresh] = [document.getElementById("live"), page.getElementById("live")];
    const focus = keep(old, fresh);
    old.replaceWith(fresh);
    focus();
    document.title = page.title;
    document.body.classList.remove("old");
  } catch {
    document.body.classList.add("old");
  } finally {
    refreshing = false;
    rests = Date.now() + SHARE * (Date.now() - began);
  }
}

function listen() {
  stream?.close();
  if (document.hidden) return; // a browser has few connections for all its tabs
  stream = new EventSource("/live");
  const hear = () => (heard = Date.now());
  stream.addEventListener("open", hear);
  stream.addEventListener("alive", hear);
  stream.addEventListener("changed", () => hear() && refresh());
}

if (document.getElementById("live")) {
  const address = new URL(location);
  for (const line of document.querySelectorAll(".told[data-name]")) {
    address.searchParams.delete(line.dataset.name); // what was told once is not told again
  }
  history.replaceState(null, "", address);
  listen();
  setInterval(() => Date.now() - heard > SILENCE && refresh(), EVERY);
  document.addEventListener("visibilitychange", () => {
    listen();
    refresh();
  });
  document.addEventListener("compositionstart", () => (composing = true));
  document.addEventListener("compositionend", () => (composing = false));
}

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  setTimeout(() => button && (button.disabled = true)); // later, or its value would not be sent
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});

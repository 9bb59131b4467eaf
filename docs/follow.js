// Follows a stream with the browser's own EventSource, which reconnects by itself and resumes behind the last id it got.
const form = document.getElementById("form");
const stop = document.getElementById("stop");
const state = document.getElementById("state");
const rows = document.getElementById("events");
const keptRows = 500;

let source = null;
let events = 0;
let connections = 0;

function show(id, text) {
  document.getElementById(id).textContent = text;
}

function setState(name, text) {
  state.dataset.state = name;
  state.textContent = text;
}

/** The newest row stands first; texts are never taken for HTML. */
function addRow(cells, note) {
  const row = document.createElement("tr");
  if (note) row.className = "note";
  for (const text of cells) {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.append(cell);
  }
  rows.prepend(row);
  while (rows.childElementCount > keptRows) rows.lastElementChild.remove();
}

function note(text) {
  addRow(["", new Date().toISOString(), "", text], true);
}

function address() {
  const given = new FormData(form);
  const url = new URL(`/api/streams/${given.get("stream")}/events`, location.href);
  for (const name of ["from", "types", "where"]) if (given.get(name)) url.searchParams.set(name, given.get(name));
  return url;
}

function close() {
  source?.close();
  source = null;
  stop.disabled = true;
}

function follow() {
  close();
  rows.replaceChildren();
  events = 0;
  connections = 0;
  show("count", "0");
  show("offset", "–");
  setState("connecting", "connecting");
  source = new EventSource(address());
  stop.disabled = false;

  source.onopen = () => {
    show("connections", String(++connections));
    setState("live", "catching up");
  };
  source.onmessage = ({ data, lastEventId }) => {
    const event = JSON.parse(data);
    show("count", String(++events));
    show("offset", lastEventId);
    addRow(
      [event.offset, event.recordedtime, event.type, JSON.stringify(event.data ?? event.data_base64 ?? null)],
      false,
    );
  };
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) {
      // The browser does not say why; the same request by fetch would (/docs).
      setState("failed", "refused");
      close();
    } else setState("connecting", "reconnecting");
  };
  source.addEventListener("sluice.caught-up", () => setState("live", "live"));
  source.addEventListener("sluice.gap", ({ data }) => {
    const { from, to } = JSON.parse(data);
    note(`offsets ${from} to ${to} were removed`);
  });
  source.addEventListener("sluice.reset", () => note("the log is another one than before"));
  source.addEventListener("sluice.problem", ({ data }) => note(data));
  source.addEventListener("sluice.end", ({ data }) => {
    const { reason } = JSON.parse(data);
    note(`the service ended the stream: ${reason}`);
    if (reason === "shutting-down") return;
    setState("idle", "ended");
    close();
  });
}

form.addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  follow();
});
stop.addEventListener("click", () => {
  close();
  setState("idle", "stopped");
});
for (const [name, value] of new URLSearchParams(location.search))
  if (form.elements[name]) form.elements[name].value = value;
if (new URLSearchParams(location.search).has("stream")) follow();

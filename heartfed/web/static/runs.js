"use strict";
// Keeps the page of a run up to date. The server makes the HTML, with every value escaped.

const connection = document.getElementById("connection");
const headline = document.getElementById("headline");
const source = new EventSource(connection.dataset.events);

function show(text) {
  if (connection.textContent !== text) connection.textContent = text;
}


const FOCUSABLE = "a, summary, [tabindex]";

function nameOf(details) {
  return details.querySelector("summary").textContent.split(":")[0];
}

// Which details the reader has opened or closed stays as it is, and the focus where it is.
function replaced(section, html) {
  const open = new Map();
  for (const details of section.querySelectorAll("details")) open.set(nameOf(details), details.open);
  const focused = [...section.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  section.innerHTML = html;
  for (const details of section.querySelectorAll("details")) {
    if (open.has(nameOf(details))) details.open = open.get(nameOf(details));
  }
  const again = focused < 0 ? undefined : section.querySelectorAll(FOCUSABLE)[focused];
  if (again) again.focus({ preventScroll: true });
}

source.addEventListener("open", () => show("This page follows the run."));
source.addEventListener("changed", (message) => {
  const changed = JSON.parse(message.data);
  for (const [name, html] of Object.entries(changed.sections)) {
    const section = document.querySelector(`[data-section="${name}"]`);
    if (section) replaced(section, html);
  }
  // A screen reader announces it only when it has changed.
  if (headline.textContent !== changed.headline) headline.textContent = changed.headline;
});
source.addEventListener("over", () => {
  source.close();
  show("The run has ended, or the application has. This page no longer changes.");
});
source.addEventListener("full", () => {
  source.close();
  show("Too many pages follow runs at the same time. Close some, then reload this one.");
});
source.addEventListener("error", () => {
  if (source.readyState !== EventSource.CLOSED) show("The application does not answer; the page tries again.");
});

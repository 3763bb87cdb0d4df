"use strict";
// Keeps the page of a run up to date. The server makes the HTML, with every value escaped.

const connection = document.getElementById("connection");
const headline = document.getElementById("headline");
const source = new EventSource(connection.dataset.events);

function show(text) {
  if (connection.textContent !== text) connection.textContent = text;
}


// Which details the reader has opened or closed stays as it is.
function replaced(section, html) {
  const before = new Map();
  for (const details of section.querySelectorAll("details")) {
    before.set(details.querySelector("summary").textContent.split(":")[0], details.open);
  }
  const focused = section.contains(document.activeElement)
    ? document.activeElement.textContent.split(":")[0]
    : null;
  section.innerHTML = html;
  for (const details of section.querySelectorAll("details")) {
    const name = details.querySelector("summary").textContent.split(":")[0];
    if (before.has(name)) details.open = before.get(name);
  }
  if (focused !== null) {
    for (const element of section.querySelectorAll("a, summary")) {
      if (element.textContent.split(":")[0] === focused) {
        element.focus({ preventScroll: true });
        break;
      }
    }
  }
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

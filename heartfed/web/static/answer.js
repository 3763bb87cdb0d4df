"use strict";
// Beats: what is known of one is read out when it is pointed at or has the focus; the arrow keys,
// Home and End go from beat to beat, so that all beats are one stop of the Tab key.
const words = document.getElementById("words");
const beats = Array.from(document.querySelectorAll("svg.sheet .beat"));

function show(beat) {
  for (const other of document.querySelectorAll("svg.sheet .beat.chosen")) {
    other.classList.remove("chosen");
  }
  beat.classList.add("chosen");
  words.textContent = beat.dataset.words;
}

function go(from, to) {
  if (to < 0 || to >= beats.length) return;
  beats[from].setAttribute("tabindex", "-1");
  beats[to].setAttribute("tabindex", "0");
  beats[to].focus();
}

beats.forEach((beat, place) => {
  beat.addEventListener("pointerenter", () => show(beat));
  beat.addEventListener("focus", () => show(beat));
  beat.addEventListener("keydown", (event) => {
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: beats.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(place, to);
  });
});

const bands = document.getElementById("bands");
if (bands) {
  bands.addEventListener("click", () => {
    const shown = bands.getAttribute("aria-pressed") !== "true";
    bands.setAttribute("aria-pressed", String(shown));
    bands.textContent = `Where the model looked: ${shown ? "shown" : "hidden"}`;
    document.querySelector("svg.sheet").classList.toggle("without-bands", !shown);
  });
}

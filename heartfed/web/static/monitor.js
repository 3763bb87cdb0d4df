// Draws what /monitor/events sends: the trace as it sweeps, heartbeats, and alarms.
"use strict";

const WINDOW = 8; // seconds across the canvas
const GAP = 0.25; // seconds that are blank before the oldest samples
const CLASSES = { N: "usual", S: "supraventricular", V: "ventricular", F: "fusion", Q: "unknown" };
const COLOURS = { V: "#ff9aa5", S: "#ffd166" };
const MOST_ROWS = 30;
const at = (id) => document.getElementById(id);
const canvas = at("trace");
const pen = canvas.getContext("2d");

let source = null;
let session = "";
let fs = 0;
let samples = [];
let first = 0; // number of the first sample that is kept
let beats = [];
let range = [-0.5, 1];
let waiting = false;

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function resize() {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  draw();
}

function level(value) {
  const share = (value - range[0]) / (range[1] - range[0]);
  return canvas.height * (0.92 - 0.74 * share);
}

function draw() {
  waiting = false;
  const width = canvas.width;
  pen.clearRect(0, 0, width, canvas.height);
  if (!fs || !samples.length) return;
  const kept = samples.filter((value) => value !== null);
  if (kept.length) {
    // The scale follows slowly, so that the trace does not jump.
    const low = Math.min(...kept);
    const high = Math.max(...kept, low + 0.5);
    range = [range[0] + 0.2 * (low - range[0]), range[1] + 0.2 * (high - range[1])];
  }
  const scale = window.devicePixelRatio || 1;
  pen.strokeStyle = "#7dffb0";
  pen.lineWidth = 1.6 * scale;
  pen.beginPath();
  const last = first + samples.length;
  const oldest = Math.max(first, last - Math.round((WINDOW - GAP) * fs));
  let before = null;
  for (let n = oldest; n < last; n += 1) {
    const value = samples[n - first];
    const x = ((n / fs) % WINDOW) / WINDOW * width;
    if (value === null) { before = null; continue; }
    if (before === null || x < before) pen.moveTo(x, level(value));
    else pen.lineTo(x, level(value));
    before = x;
  }
  pen.stroke();
  pen.font = `${14 * scale}px system-ui, sans-serif`;
  pen.textAlign = "center";
  for (const beat of beats) {
    if (beat.time < oldest / fs) continue;
    pen.fillStyle = COLOURS[beat.class] || "#e8e8e8";
    pen.fillText(beat.class || "·", (beat.time % WINDOW) / WINDOW * width, 18 * scale);
  }
  const now = ((last / fs) % WINDOW) / WINDOW * width;
  pen.fillStyle = "#7dffb0";
  pen.fillRect(now, 0, 2 * scale, canvas.height);
}

function log(time, text) {
  const row = document.createElement("tr");
  const when = element("td", time.toFixed(1));
  when.className = "n";
  row.append(when, element("td", text));
  at("log").prepend(row);
  while (at("log").children.length > MOST_ROWS) at("log").lastChild.remove();
}

function speak(text) {
  at("spoken").textContent = text;
}

function alarmItem(name) {
  return [...at("alarms").children].find((item) => item.dataset.alarm === name);
}

function showAlarm(event) {
  const name = event.alarm;
  let item = alarmItem(name);
  if (event.event === "alarm cleared") {
    if (item) item.remove();
  } else {
    if (!item) {
      item = document.createElement("li");
      item.dataset.alarm = name;
      const text = document.createElement("span");
      const seen = element("button", "Acknowledge");
      seen.type = "button";
      seen.setAttribute("aria-label", `Acknowledge ${name}`);
      seen.addEventListener("click", () => acknowledge(name, seen));
      item.append(text, seen);
      at("alarms").append(item);
    }
    const over = event.event === "alarm over";
    item.className = over ? `${event.priority} over` : event.priority;
    const why = event.detail || event.cause || "";
    const words = over
      ? `${name}: is over, and waits to be acknowledged`
      : `${name} since ${event.time.toFixed(1)} s${why ? `: ${why}` : ""}`;
    item.firstChild.textContent = words;
    item.lastChild.disabled = false;
  }
  at("no-alarm").hidden = at("alarms").children.length > 0;
  const happened = { "alarm raised": "raised", "alarm over": "over", "alarm cleared": "cleared" };
  const detail = event.detail || event.cause;
  speak(`${name} ${happened[event.event]}`);
  log(event.time, `${name} ${happened[event.event]}${detail ? `: ${detail}` : ""}`);
}

async function acknowledge(name, button) {
  button.disabled = true;
  try {
    await fetch("/monitor/acknowledge", {
      method: "POST", body: new URLSearchParams({ session, alarm: name }),
    });
  } catch (error) {
    button.disabled = false;
  }
}

function show(event) {
  if (event.event === "beat") {
    beats.push(event);
    beats = beats.slice(-60);
    if (event.rate) at("rate").textContent = Math.round(event.rate);
    at("class").textContent = event.class ? `${event.class} (${CLASSES[event.class]})` : "no class";
  } else if (event.event === "rhythm") {
    at("rhythm").textContent = event.rhythm === "AF" ? "AF" : "not AF";
    log(event.time, event.rhythm === "AF" ? "atrial fibrillation begins" : "atrial fibrillation ends");
  } else if (event.event === "cannot monitor" || event.event === "can monitor") {
    const cannot = event.event === "cannot monitor";
    at("rhythm").textContent = cannot ? "cannot monitor" : "–";
    speak(cannot ? `cannot monitor: ${event.why}` : "can monitor again");
    log(event.time, cannot ? `cannot monitor: ${event.why}` : "can monitor again");
  } else if (event.event === "end") {
    const count = Object.values(event.beats).reduce((sum, n) => sum + n, 0);
    log(event.time, `end: ${count} heartbeats`);
  } else {
    showAlarm(event);
  }
}

function stop() {
  if (source) source.close();
  source = null;
  at("start").disabled = false;
  at("stop").disabled = true;
}

function start() {
  stop();
  samples = [];
  first = 0;
  beats = [];
  at("alarms").replaceChildren();
  at("log").replaceChildren();
  at("no-alarm").hidden = false;
  for (const id of ["rate", "class", "rhythm", "time"]) at(id).textContent = "–";
  const chosen = new URLSearchParams(new FormData(at("choose")));
  source = new EventSource(`/monitor/events?${chosen}`);
  at("start").disabled = true;
  at("stop").disabled = false;
  source.addEventListener("start", (message) => {
    const begun = JSON.parse(message.data);
    session = begun.session;
    fs = begun.fs;
    at("lead").textContent = `of lead ${begun.lead}`;
    at("synthetic").hidden = !begun.synthetic;
  });
  source.addEventListener("block", (message) => {
    const block = JSON.parse(message.data);
    samples.push(...block.samples);
    const surplus = samples.length - Math.round(WINDOW * fs);
    if (surplus > 0) {
      samples = samples.slice(surplus);
      first += surplus;
    }
    at("time").textContent = `${((first + samples.length) / fs).toFixed(1)} s`;
    block.events.forEach(show);
    if (!waiting) {
      waiting = true;
      window.requestAnimationFrame(draw);
    }
  });
  source.addEventListener("end", (message) => {
    JSON.parse(message.data).events.forEach(show);
    stop();
  });
  source.addEventListener("gone", () => {
    log((first + samples.length) / (fs || 1), "the upload is no longer kept");
    stop();
  });
  source.addEventListener("error", () => {
    // A stream that broke would otherwise be asked for again, from its beginning.
    log((first + samples.length) / (fs || 1), "the stream ended");
    stop();
  });
}

at("choose").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  start();
});
at("stop").addEventListener("click", stop);
window.addEventListener("resize", resize);
resize();
if (at("upload")) start(); // its page has asked for it

"use strict";
// Says what would be refused before it is sent, and that the answer is being computed.
const form = document.getElementById("upload");
if (form) {
  const status = document.getElementById("status");
  const button = form.querySelector("button");
  const files = document.getElementById("files");
  form.addEventListener("submit", (event) => {
    const size = Array.from(files.files).reduce((sum, file) => sum + file.size, 0);
    const limit = Number(form.dataset.limit);
    if (size > limit) {
      event.preventDefault();
      status.textContent = `These files have ${(size / 2 ** 20).toFixed(1)} MiB; at most ${limit / 2 ** 20} MiB are accepted. Choose a part of the recording.`;
      return;
    }
    status.textContent = "The recording is read and answered…";
    button.disabled = true;
  });
  window.addEventListener("pageshow", () => {
    button.disabled = false;
    status.textContent = "";
  });
}

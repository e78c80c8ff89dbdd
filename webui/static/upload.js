// Dropping files and folders, the progress of the upload, and a way to stop it. Without scripts the plain form does.
"use strict";
(() => {
  const form = document.getElementById("upload");
  const find = (name) => form.querySelector(`[data-${name}]`);
  const drop = find("drop");
  const picker = form.querySelector('input[name="files"]');
  const limits = {
    bytes: Number(form.dataset.mostBytes), files: Number(form.dataset.mostFiles), fileBytes: Number(form.dataset.mostFileBytes),
  };
  /** What will be sent. Cameras use the same names again and again, so a name alone does not tell files apart. */
  const chosen = new Map();
  let request = null;
  let sent = false;

  for (const part of form.querySelectorAll("[data-only-with-script]")) part.hidden = false;

  const KILO = 1024;
  const size = (bytes) => bytes < KILO ** 2 ? `${Math.max(1, Math.round(bytes / KILO))} kB` : bytes < KILO ** 3 ? `${(bytes / KILO ** 2).toFixed(1)} MB` : `${(bytes / KILO ** 3).toFixed(2)} GB`;
  const total = () => [...chosen.values()].reduce((sum, { file }) => sum + file.size, 0);
  const isArchive = (name) => /\.(zip|tar|tgz|gz)$/i.test(name);

  function add(file, path) {
    // What file managers leave in folders is not part of a batch.
    if (/(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini)$/i.test(path)) return;
    chosen.set(`${path}|${file.size}|${file.lastModified}`, { path, file });
  }
  /** The key stands for one selection: other files under the same key would be taken for a repetition. */
  function renewKey() {
    if (!sent) return;
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    form.elements.idempotency_key.value = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    sent = false;
  }
  function show() {
    renewKey();
    const names = [...chosen.values()].map(({ path }) => path);
    const list = find("chosen");
    list.replaceChildren();
    list.hidden = !names.length;
    if (names.length) {
      const word = document.createElement("p");
      const strong = document.createElement("b");
      strong.textContent = names.length === 1 ? names[0] : `${names.length} files`;
      const clear = document.createElement("button");
      clear.type = "button";
      clear.className = "btn btn-sm btn-link";
      clear.textContent = "Choose again";
      clear.addEventListener("click", () => { chosen.clear(); form.reset(); show(); });
      word.append(strong, `, ${size(total())}`, clear);
      list.append(word);
      if (names.length > 1) {
        const some = document.createElement("p");
        some.className = "muted names";
        some.textContent = names.slice(0, 8).join(", ") + (names.length > 8 ? `, and ${names.length - 8} more` : "");
        list.append(some);
      }
    }
    const archives = names.filter(isArchive).length;
    find("go-word").textContent = !names.length ? "Upload" : archives ? `Upload ${names.length === 1 ? "the archive" : names.length + " files"}` : names.length === 1 ? "Upload 1 image" : `Upload ${names.length} images`;
    find("go").disabled = !names.length;
    tell(complaint());
  }
  function complaint() {
    if (chosen.size > limits.files) return `${chosen.size} files are more than the ${limits.files} of one upload. Split them.`;
    if (total() > limits.bytes) return `${size(total())} are more than the ${size(limits.bytes)} of one upload. Split them.`;
    return "";
  }
  function tell(problem) {
    const place = find("problem");
    place.textContent = problem;
    place.hidden = !problem;
  }

  async function walk(entry, path) {
    if (entry.isFile) {
      add(await new Promise((resolve, reject) => entry.file(resolve, reject)), path + entry.name);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      // A reader hands out at most a hundred entries at a time.
      const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!entries.length) return;
      for (const child of entries) await walk(child, `${path}${entry.name}/`);
    }
  }
  picker.addEventListener("change", () => { for (const file of picker.files) add(file, file.name); show(); });
  const folder = find("folder");
  folder.addEventListener("change", () => { for (const file of folder.files) add(file, file.webkitRelativePath || file.name); show(); });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", (event) => { if (!drop.contains(event.relatedTarget)) drop.classList.remove("over"); });
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    // The list of a drop is gone after the first pause.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    for (const entry of entries) await walk(entry, "");
    show();
  });

  function busy(on) {
    find("sending").hidden = !on;
    find("go").disabled = on;
    drop.inert = on;
  }
  function send() {
    const data = new FormData();
    for (const name of ["csrf_token", "idempotency_key"]) data.append(name, form.elements[name].value);
    for (const { path, file } of chosen.values()) data.append("files", file, path);
    const metadata = form.elements.metadata.files[0];
    if (metadata) data.append("metadata", metadata, metadata.name);

    const bar = find("sending").querySelector("progress");
    const word = find("sending-word");
    const started = Date.now();
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      bar.value = (event.loaded / event.total) * 100;
      const left = ((Date.now() - started) / event.loaded) * (event.total - event.loaded) / 1000;
      word.textContent = event.loaded < event.total
        ? `${size(event.loaded)} of ${size(event.total)}${left > 2 ? `, about ${left < 60 ? Math.round(left) + " s" : Math.round(left / 60) + " min"} left` : ""}`
        : "Everything arrived. Checking and storing the files.";
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* a proxy answered with a page of its own */ }
      if (request.status === 201) { location.assign(answer.page); return; }
      busy(false);
      tell(`${answer.detail || `The server answered ${request.status}.`}${answer.request_id ? ` Request ${answer.request_id}.` : ""}`);
    });
    request.addEventListener("error", () => {
      busy(false);
      tell("The connection broke off. Upload once more: what had arrived already will not be taken in twice.");
    });
    request.addEventListener("abort", () => { busy(false); tell("The upload was stopped. If everything had arrived, it was taken in: look under Batches."); });
    tell("");
    bar.value = 0;
    sent = true;
    busy(true);
    request.send(data);
  }
  form.elements.metadata.addEventListener("change", renewKey);
  find("stop").addEventListener("click", () => { if (request) request.abort(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen.size && !complaint()) send();
  });
  show();
})();

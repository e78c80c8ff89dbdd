// The picture of one image: wheel zoom, drag, double-click to fit, and the heat map above it.
"use strict";
(() => {
  const viewer = document.querySelector("[data-viewer]");
  if (!viewer) return;
  const stage = viewer.querySelector("[data-stage]");
  const heat = viewer.querySelector("[data-heat]");
  const tools = document.querySelector("[data-tools]");
  const LARGEST = 12;
  let scale = 1;
  let x = 0;
  let y = 0;
  tools.hidden = false;

  // The stage takes the picture's shape, so that all of it is seen and the heat map covers exactly it.
  const picture = viewer.querySelector("[data-picture]");
  function shape() { stage.style.setProperty("--ratio", picture.naturalWidth / picture.naturalHeight); }
  if (picture.naturalWidth) shape(); else picture.addEventListener("load", shape, { once: true });

  function draw() {
    // Keep some of the picture in sight.
    const room = viewer.getBoundingClientRect();
    const farthest = (size) => (size * scale) / 2 + size / 2 - 60;
    x = Math.max(-farthest(room.width), Math.min(farthest(room.width), x));
    y = Math.max(-farthest(room.height), Math.min(farthest(room.height), y));
    stage.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    viewer.classList.toggle("zoomed", scale > 1);
  }
  function fit() { scale = 1; x = 0; y = 0; draw(); }
  function zoom(factor, at) {
    const next = Math.max(1, Math.min(LARGEST, scale * factor));
    const room = viewer.getBoundingClientRect();
    const fromX = (at ? at.clientX - room.left - room.width / 2 : 0);
    const fromY = (at ? at.clientY - room.top - room.height / 2 : 0);
    x = fromX - ((fromX - x) * next) / scale;
    y = fromY - ((fromY - y) * next) / scale;
    scale = next;
    if (scale === 1) { x = 0; y = 0; }
    draw();
  }

  viewer.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), event);
  }, { passive: false });
  viewer.addEventListener("dblclick", (event) => { if (scale > 1) fit(); else zoom(3, event); });
  viewer.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || scale === 1) return;
    event.preventDefault();
    viewer.setPointerCapture(event.pointerId);
    const startX = event.clientX - x;
    const startY = event.clientY - y;
    const move = (moved) => { x = moved.clientX - startX; y = moved.clientY - startY; draw(); };
    const end = () => {
      viewer.removeEventListener("pointermove", move);
      viewer.classList.remove("dragged");
    };
    viewer.classList.add("dragged");
    viewer.addEventListener("pointermove", move);
    viewer.addEventListener("pointerup", end, { once: true });
    viewer.addEventListener("pointercancel", end, { once: true });
  });
  for (const button of tools.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      const direction = Number(button.dataset.zoom);
      if (direction) zoom(direction > 0 ? 1.5 : 1 / 1.5); else fit();
    });
  }

  const heatSwitch = tools.querySelector("[data-heat-switch]");
  const opacity = tools.querySelector("[data-heat-opacity]");
  const heatClass = tools.querySelector("[data-heat-class]");
  function showHeat() {
    heat.hidden = !heatSwitch.checked;
    opacity.disabled = heatClass.disabled = !heatSwitch.checked;
    heat.style.opacity = opacity.value / 100;
  }
  if (heat) {
    heatSwitch.addEventListener("change", showHeat);
    opacity.addEventListener("input", showHeat);
    heatClass.addEventListener("change", () => { heat.src = heatClass.value; });
    showHeat();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox], [type=range]), select, textarea")) return;
    const step = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
    if (step) step.click();
    else if (event.key === "h" && heat) { heatSwitch.checked = !heatSwitch.checked; showHeat(); }
    else if (event.key === "+") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") fit();
  });
})();

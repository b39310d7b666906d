"use strict";

// Sends an image to /segment, draws the classes over it, and shows the class of a pixel.

const byId = (id) => document.getElementById(id);
const picture = byId("picture");
const CONTOUR_SIDE = 500; // as in fcnjax/io/pictures.py
const MAX_HEIGHT = 0.75; // of the window, as in page.css
let classes = []; // {id, name, colour, is_background}
let shown = null; // {file, image, layers, mask, confidence, classes, width, height, x, y}
let requests = 0; // only the response to the last one is shown

// Where the server sends arrays: deflated, in base 64.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

async function send(file, output) {
  const answer = await fetch(`segment?output=${output}`, { method: "POST", body: file });
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
    throw new Error(error);
  }
  return answer;
}

function setStatus(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

async function predict(file) {
  const request = ++requests;
  setStatus(`Predicting ${file.name} …`);
  try {
    const [image, response] = await Promise.all([
      createImageBitmap(file).catch(() => null), // a format of other programs, such as TIFF
      send(file, "json").then((answer) => answer.json()),
    ]);
    const Mask = response.mask_type === "uint16" ? Uint16Array : Uint8Array;
    const mask = new Mask(await unpack(response.mask));
    const confidence = new Uint8Array(await unpack(response.confidence));
    if (request !== requests) return;
    const [x, y] = [Math.floor(response.width / 2), Math.floor(response.height / 2)];
    shown = { ...response, file, image, mask, confidence, x, y };
    shown.layers = makeLayers(shown);
    show();
    const note = image ? "" : " This browser cannot show the file; the classes are shown alone.";
    setStatus(`${file.name}: ${response.width} × ${response.height} pixels.${note}`);
  } catch (error) {
    if (request !== requests) return;
    clear();
    setStatus(`${file.name}: ${error.message}`, true);
  }
}

// Two canvases: the classes in their colours, and the contours of their regions. The background
// is clear in both.
function makeLayers({ mask, classes, width, height }) {
  const colours = new Uint32Array(classes.length);
  const bytes = new Uint8Array(colours.buffer);
  classes.forEach(({ colour, is_background }, id) =>
    bytes.set([...colour, is_background ? 0 : 255], 4 * id),
  );
  return {
    fill: drawLayer(width, height, (i) => colours[mask[i]]),
    contour: drawLayer(width, height, (i, x, y) =>
      isContour(mask, width, height, i, x, y) ? colours[mask[i]] : 0,
    ),
  };
}

function drawLayer(width, height, colourOf) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) words[i] = colourOf(i, x, y);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Whether another class is near in the row or column of a pixel.
function isContour(mask, width, height, i, x, y) {
  const reach = Math.max(Math.round(Math.max(width, height) / CONTOUR_SIDE), 1);
  for (let d = 1; d <= reach; d++) {
    if (x >= d && mask[i - d] !== mask[i]) return true;
    if (x + d < width && mask[i + d] !== mask[i]) return true;
    if (y >= d && mask[i - d * width] !== mask[i]) return true;
    if (y + d < height && mask[i + d * width] !== mask[i]) return true;
  }
  return false;
}

function show() {
  picture.width = shown.width;
  picture.height = shown.height;
  picture.setAttribute("aria-label", `${shown.file.name} with its classes`);
  byId("cross").hidden = true;
  byId("pixel").textContent = "";
  showLegend(shown.classes);
  setVisible(true);
  scale();
  draw();
}

// Without a result, the page shows the classes alone.
function clear() {
  shown = null;
  showLegend(classes);
  setVisible(false);
}

function setVisible(visible) {
  byId("result").classList.toggle("with-picture", visible);
  byId("view").hidden = !visible;
  byId("controls").hidden = !visible;
}

// Enlarges a small picture by a whole factor, so that its pixels become squares.
function scale() {
  if (!shown) return;
  const [width, height] = [byId("view").clientWidth, MAX_HEIGHT * window.innerHeight];
  const factor = Math.floor(Math.min(width / shown.width, height / shown.height));
  picture.classList.toggle("enlarged", factor > 1);
  picture.style.width = factor > 1 ? `${factor * shown.width}px` : "";
}

function showLegend(rows) {
  byId("legend").replaceChildren(...rows.map(legendRow));
}

function legendRow({ name, colour, is_background, pixels }) {
  const [row, swatch, title, share] = ["li", "span", "span", "span"].map((tag) =>
    document.createElement(tag),
  );
  swatch.className = is_background ? "swatch clear" : "swatch";
  if (!is_background) swatch.style.backgroundColor = `rgb(${colour.join()})`;
  title.textContent = is_background ? `${name} (clear)` : name;
  share.className = "share";
  if (shown) share.textContent = `${((100 * pixels) / (shown.width * shown.height)).toFixed(1)} %`;
  row.append(swatch, title, share);
  return row;
}

function draw() {
  const context = picture.getContext("2d");
  const opacity = Number(byId("opacity").value) / 100;
  byId("percent").textContent = `${Math.round(100 * opacity)} %`;
  if (!shown) return;
  context.globalAlpha = 1;
  context.clearRect(0, 0, shown.width, shown.height);
  if (shown.image) context.drawImage(shown.image, 0, 0, shown.width, shown.height);
  context.globalAlpha = opacity;
  context.drawImage(shown.layers.fill, 0, 0);
  context.globalAlpha = Math.min(2 * opacity, 1);
  context.drawImage(shown.layers.contour, 0, 0);
}

function point(x, y) {
  shown.x = Math.min(Math.max(x, 0), shown.width - 1);
  shown.y = Math.min(Math.max(y, 0), shown.height - 1);
  const at = shown.y * shown.width + shown.x;
  const sure = Math.round((100 * shown.confidence[at]) / 255);
  const { name } = shown.classes[shown.mask[at]];
  byId("pixel").textContent = `${name}, ${sure} % sure (x ${shown.x}, y ${shown.y})`;
  const cross = byId("cross");
  cross.style.left = `${(100 * (shown.x + 0.5)) / shown.width}%`;
  cross.style.top = `${(100 * (shown.y + 0.5)) / shown.height}%`;
  cross.hidden = false;
}

function pointAt(event) {
  if (!shown) return;
  const box = picture.getBoundingClientRect();
  point(
    Math.floor(((event.clientX - box.left) * shown.width) / box.width),
    Math.floor(((event.clientY - box.top) * shown.height) / box.height),
  );
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pointByKey(event) {
  const step = STEPS[event.key];
  if (!shown || !step) return;
  event.preventDefault();
  const by = event.shiftKey ? 10 : 1;
  point(shown.x + by * step[0], shown.y + by * step[1]);
}

async function download() {
  try {
    const mask = await (await send(shown.file, "mask")).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(mask);
    link.download = `${shown.file.name.replace(/\.[^.]*$/, "")}_mask.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    setStatus(error.message, true);
  }
}

function listen() {
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) predict(file);
    event.target.value = ""; // so that the same file can be chosen again
  });
  // Dropped beside the frame, a file would replace the page.
  for (const name of ["dragover", "drop", "dragleave"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", name === "dragover");
      const file = name === "drop" && event.dataTransfer.files[0];
      if (file) predict(file);
    });
  }
  picture.addEventListener("pointermove", pointAt);
  picture.addEventListener("pointerdown", pointAt);
  picture.addEventListener("keydown", pointByKey);
  window.addEventListener("resize", scale);
  byId("opacity").addEventListener("input", draw);
  byId("download").addEventListener("click", download);
}

function showModel(model) {
  byId("name").textContent = model.name;
  document.title = `${model.name} - fcnjax`;
  byId("model").textContent = `fcnjax, step ${model.step}, ${model.classes.length} classes`;
  classes = model.classes;
  if (!shown) clear();
}

listen();
fetch("model")
  .then((answer) => answer.json())
  .then(showModel)
  .catch(() => {});

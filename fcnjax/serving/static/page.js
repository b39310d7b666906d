"use strict";

// Sends an image to /segment, paints the classes over it, and says what a pixel is.

const byId = (id) => document.getElementById(id);
const picture = byId("picture");
let shown = null; // {file, image, paint, mask, confidence, classes, width, height, x, y}
let asked = 0; // of the answers that are under way, the last alone counts

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

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

async function label(file) {
  const turn = ++asked;
  say(`Labelling ${file.name} …`);
  try {
    const [image, found] = await Promise.all([
      createImageBitmap(file).catch(() => null), // a format of other programs, such as TIFF
      send(file, "json").then((answer) => answer.json()),
    ]);
    const Mask = found.mask_type === "uint16" ? Uint16Array : Uint8Array;
    const mask = new Mask(await unpack(found.mask));
    const confidence = new Uint8Array(await unpack(found.confidence));
    if (turn !== asked) return;
    const [x, y] = [Math.floor(found.width / 2), Math.floor(found.height / 2)];
    shown = { ...found, file, image, mask, confidence, x, y };
    shown.paint = paintOf(shown);
    show();
    const note = image ? "" : " This browser cannot show the file; the classes are shown alone.";
    say(`${file.name}: ${found.width} × ${found.height} pixels.${note}`);
  } catch (error) {
    if (turn === asked) say(`${file.name}: ${error.message}`, true);
  }
}

// The classes in their colours; class 0, the background, is left clear.
function paintOf({ mask, classes, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  const colours = new Uint32Array(classes.length);
  const bytes = new Uint8Array(colours.buffer);
  classes.forEach(({ colour }, id) => bytes.set([...colour, id === 0 ? 0 : 255], 4 * id));
  for (let i = 0; i < mask.length; i++) words[i] = colours[mask[i]];
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function show() {
  picture.width = shown.width;
  picture.height = shown.height;
  picture.setAttribute("aria-label", `${shown.file.name} with its classes`);
  byId("legend").replaceChildren(...shown.classes.map(legendRow));
  byId("cross").hidden = true;
  byId("pixel").textContent = "";
  byId("result").hidden = false;
  draw();
}

function legendRow({ name, colour, pixels }) {
  const [row, swatch, title, share] = ["li", "span", "span", "span"].map((tag) =>
    document.createElement(tag),
  );
  swatch.className = "swatch";
  swatch.style.backgroundColor = `rgb(${colour.join()})`;
  title.textContent = name;
  share.className = "share";
  share.textContent = `${((100 * pixels) / (shown.width * shown.height)).toFixed(1)} %`;
  row.append(swatch, title, share);
  return row;
}

function draw() {
  const context = picture.getContext("2d");
  const opacity = Number(byId("opacity").value);
  byId("percent").textContent = `${opacity} %`;
  if (!shown) return;
  context.globalAlpha = 1;
  context.clearRect(0, 0, shown.width, shown.height);
  if (shown.image) context.drawImage(shown.image, 0, 0, shown.width, shown.height);
  context.globalAlpha = opacity / 100;
  context.drawImage(shown.paint, 0, 0);
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
    say(error.message, true);
  }
}

function listen() {
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) label(file);
    event.target.value = ""; // so that the same file can be chosen again
  });
  // Dropped beside the frame, a file would replace the page.
  for (const name of ["dragover", "drop", "dragleave"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", name === "dragover");
      const file = name === "drop" && event.dataTransfer.files[0];
      if (file) label(file);
    });
  }
  picture.addEventListener("pointermove", pointAt);
  picture.addEventListener("pointerdown", pointAt);
  picture.addEventListener("keydown", pointByKey);
  byId("opacity").addEventListener("input", draw);
  byId("download").addEventListener("click", download);
}

listen();
fetch("v2/models/segmenter")
  .then((answer) => answer.json())
  .then(({ name, versions }) => (byId("model").textContent = `${name}, step ${versions[0]}`))
  .catch(() => {});

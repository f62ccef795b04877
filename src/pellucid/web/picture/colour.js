/* Scales whose lightness runs one way only, so that they read without colour as well. Nothing is
   the colour of the paper: ColorBrewer's YlGnBu on light, viridis on dark; blue and orange around
   nothing. */

const STOPS = {
  light: {
    sequential: ["#fbfbf6", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58"],
    diverging: ["#7f3b08", "#b35806", "#e08214", "#fdb863", "#fde2bd", "#fafafa", "#d1e5f0", "#92c5de", "#4393c3", "#2166ac", "#053061"],
  },
  dark: {
    sequential: ["#1b1a24", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"],
    diverging: ["#ffc27a", "#f79a36", "#c96d12", "#85480f", "#453020", "#22242b", "#1f3a52", "#23608f", "#3689c9", "#6db4ee", "#b5dcff"],
  },
};

export function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

const tables = {};

/* 256 colours of a scale, as [red, green, blue] one after another. */
export function table(scale) {
  const theme = dark() ? "dark" : "light";
  const key = `${theme} ${scale}`;
  if (tables[key]) return tables[key];
  const stops = STOPS[theme][scale].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const colours = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      colours[i * 3 + c] = stops[low][c] + (stops[low + 1][c] - stops[low][c]) * (at - low);
    }
  }
  return (tables[key] = colours);
}

/* Where a value lies on its scale, 0…255. */
export function step(value, scale, high) {
  const share = high > 0 ? value / high : 0;
  const place = scale === "diverging" ? (share + 1) / 2 : share;
  return Math.round(Math.max(0, Math.min(1, place)) * 255);
}

/* Weights of attention by their square root, so that small ones stay visible. */
export function rootStep(weight) {
  return Math.round(Math.sqrt(Math.max(0, Math.min(1, weight))) * 255);
}

function ground(place, colours) {
  const own = colours.subarray(place * 3, place * 3 + 3);
  const [r, g, b] = [...own].map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { background: `rgb(${own.join(" ")})`, color: luminance > 0.19 ? "#111" : "#fff" };
}

export function paint(element, place, scale) {
  Object.assign(element.style, ground(place, table(scale)));
}

/* The same for many elements at once: paint(element, place), in the theme of now. */
export function painter(scale) {
  const colours = table(scale);
  const known = [];
  return (element, place) => {
    known[place] ??= ground(place, colours);
    element.style.background = known[place].background;
    element.style.color = known[place].color;
  };
}

/* What is to be drawn again when light turns to dark. Returns what ends that. */
const drawings = new Set();

export function drawn(draw) {
  drawings.add(draw);
  draw();
  return () => drawings.delete(draw);
}

export function drawAgain() {
  for (const draw of drawings) draw();
}

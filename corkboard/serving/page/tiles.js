// A picture for every item, drawn from its category (palette, family of shapes) and its id (everything else).
// The same item looks the same on every machine; nothing is fetched.

const SVG = "http://www.w3.org/2000/svg";
const RATIOS = [1.0, 1.2, 1.25, 1.33, 1.33, 1.5];
let made = 0;

/** 32-bit FNV-1a hash of a string. */
export function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  h ^= h >>> 15; h = Math.imul(h, 2246822519); h ^= h >>> 13;
  return h >>> 0;
}

/** A small seeded generator of numbers in [0, 1). */
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The hue of a category, in degrees. */
export const hueOf = (category) => hash(`hue ${category}`) % 360;

/** Height over width of an item's tile. */
export const ratioOf = (id) => RATIOS[hash(`ratio ${id}`) % RATIOS.length];

/** Two letters of a name. */
export function initials(text) {
  const words = String(text || "").split(/[\s\-_/.]+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.length === 1 ? [...words[0]].slice(0, 2) : words.slice(0, 2).map((word) => [...word][0]);
  return letters.join("").toUpperCase() || "·";
}

function node(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (parent) parent.append(element);
  return element;
}

/** A colour by lightness (0 to 1), chroma and hue (degrees), even to the eye at every hue. */
const colour = (l, c, h) => `oklch(${l} ${c} ${((h % 360) + 360) % 360})`;

// How light a category's ground and its shapes are; with the hue this tells categories apart.
const TONES = [
  { ground: [0.93, 0.045], far: [0.82, 0.085], soft: 0.965, mid: [0.68, 0.1], deep: [0.48, 0.085], ink: [0.33, 0.06] }, // pastel
  { ground: [0.955, 0.02], far: [0.9, 0.035], soft: 0.985, mid: [0.72, 0.115], deep: [0.55, 0.12], ink: [0.38, 0.07] }, // paper
  { ground: [0.5, 0.085], far: [0.36, 0.075], soft: 0.9, mid: [0.66, 0.1], deep: [0.28, 0.055], ink: [0.21, 0.04] }, // dusk
  { ground: [0.83, 0.1], far: [0.7, 0.125], soft: 0.95, mid: [0.6, 0.12], deep: [0.43, 0.09], ink: [0.3, 0.06] }, // vivid
];

function paletteOf(category, random) {
  const hue = hueOf(category) + (random() - 0.5) * 28, far = hue + (random() < 0.5 ? 32 : -36), pop = hue + 150 + random() * 60;
  const tone = TONES[hash(`tone ${category}`) % TONES.length];
  return {
    from: colour(...tone.ground, hue), to: colour(...tone.far, far), soft: colour(tone.soft, 0.028, far),
    mid: colour(...tone.mid, hue), deep: colour(...tone.deep, hue), ink: colour(...tone.ink, hue), pop: colour(0.78, 0.125, pop),
  };
}

// Each family draws on a 100 x H canvas. `r` gives the numbers, `p` the palette.
const FAMILIES = [
  function hills(g, H, r, p) {
    node("circle", { cx: 22 + r() * 56, cy: H * (0.2 + r() * 0.16), r: 9 + r() * 9, fill: p.pop, opacity: 0.9 }, g);
    [p.mid, p.deep, p.ink].forEach((fill, i) => {
      const base = H * (0.5 + i * 0.16), swing = H * (0.05 + r() * 0.06), turn = r() * 6.28, waves = 0.8 + r() * 0.9;
      let d = `M0 ${H}`;
      for (let x = 0; x <= 100; x += 5) d += `L${x} ${(base + Math.sin(turn + (x / 100) * 6.28 * waves) * swing).toFixed(1)}`;
      node("path", { d: `${d}L100 ${H}Z`, fill, opacity: 0.78 }, g);
    });
  },
  function arcs(g, H, r, p) {
    const [cx, cy] = [r() < 0.5 ? 0 : 100, r() < 0.5 ? 0 : H], fills = [p.deep, p.soft, p.pop, p.mid, p.ink, p.soft];
    for (let i = 0, R = 104; i < 6; i++, R -= 13 + r() * 7) node("circle", { cx, cy, r: Math.max(R, 5), fill: fills[i], opacity: 0.86 }, g);
    node("circle", { cx: 100 - cx * 0.7 - 15, cy: H - cy * 0.7 - H * 0.15, r: 6 + r() * 5, fill: p.pop }, g);
  },
  function clouds(g, H, r, p) {
    const fills = [p.deep, p.mid, p.pop, p.soft];
    for (let i = 0; i < 8; i++) node("circle", { cx: r() * 100, cy: r() * H, r: 12 + r() * 26, fill: fills[i % 4], opacity: 0.5 }, g);
  },
  function mosaic(g, H, r, p) {
    const n = 4, s = 100 / n, fills = [p.deep, p.mid, p.pop, p.soft, p.ink];
    for (let y = 0; y < H / s; y++) for (let x = 0; x < n; x++) {
      const X = x * s, Y = y * s, fill = fills[Math.floor(r() * 5)], turn = Math.floor(r() * 4) * 90, kind = r();
      if (kind < 0.16) continue;
      const d = kind < 0.6 ? `M${X} ${Y}h${s}a${s} ${s} 0 0 1 ${-s} ${s}z` : kind < 0.8 ? `M${X} ${Y}h${s}v${s}z` : `M${X + s / 2} ${Y}a${s / 2} ${s / 2} 0 0 1 0 ${s}a${s / 2} ${s / 2} 0 0 1 0 ${-s}z`;
      node("path", { d, fill, opacity: 0.85, transform: `rotate(${turn} ${X + s / 2} ${Y + s / 2})` }, g);
    }
  },
  function ribbons(g, H, r, p) {
    const band = node("g", { transform: `rotate(${-50 + r() * 100} 50 ${H / 2})` }, g), fills = [p.deep, p.soft, p.mid, p.pop, p.ink];
    for (let x = -60, i = 0; x < 160; i++) {
      const w = 3 + r() * 15;
      if (i % 2) node("rect", { x, y: -80, width: w, height: H + 160, fill: fills[Math.floor(r() * 5)], opacity: 0.8 }, band);
      x += w;
    }
  },
  function bloom(g, H, r, p) {
    const cx = 32 + r() * 36, cy = H * (0.34 + r() * 0.26), petals = 6 + Math.floor(r() * 6), long = 24 + r() * 14;
    node("circle", { cx, cy, r: long * 1.75, fill: p.soft, opacity: 0.5 }, g);
    for (let ring = 0; ring < 2; ring++) for (let i = 0; i < petals; i++) {
      const scale = ring ? 0.62 : 1, turn = (360 / petals) * (i + ring / 2);
      node("ellipse", { cx, cy: cy - long * 0.72 * scale, rx: long * 0.3 * scale, ry: long * 0.62 * scale, fill: ring ? p.mid : p.deep, opacity: 0.82, transform: `rotate(${turn} ${cx} ${cy})` }, g);
    }
    node("circle", { cx, cy, r: long * 0.26, fill: p.pop }, g);
  },
  function terrazzo(g, H, r, p) {
    const fills = [p.deep, p.mid, p.pop, p.soft, p.ink];
    for (let i = 0; i < 26; i++) {
      const x = r() * 100, y = r() * H, s = 3 + r() * 8;
      let d = "";
      for (let k = 0, n = 4 + Math.floor(r() * 3); k < n; k++) {
        const turn = (k / n) * 6.28, R = s * (0.6 + r() * 0.6);
        d += `${k ? "L" : "M"}${(x + Math.cos(turn) * R).toFixed(1)} ${(y + Math.sin(turn) * R).toFixed(1)}`;
      }
      node("path", { d: `${d}Z`, fill: fills[i % 5], opacity: 0.88 }, g);
    }
  },
  function threads(g, H, r, p) {
    const step = 7 + r() * 4, swing = 2.5 + r() * 5, waves = 0.7 + r() * 1.1, turn = r() * 6.28, lean = 0.2 + r() * 0.3;
    for (let y = -step, i = 0; y < H + step; y += step, i++) {
      let d = "";
      for (let x = -4; x <= 104; x += 4) d += `${d ? "L" : "M"}${x} ${(y + Math.sin(turn + i * lean + (x / 100) * 6.28 * waves) * swing).toFixed(1)}`;
      node("path", { d, fill: "none", stroke: [p.deep, p.soft, p.mid, p.soft, p.pop][i % 5], "stroke-width": 1.2 + r() * 2.6, "stroke-linecap": "round", opacity: 0.9 }, g);
    }
  },
  function sun(g, H, r, p) {
    const cx = 50, cy = H * (0.56 + r() * 0.2), R = 17 + r() * 9, rays = 14 + Math.floor(r() * 10);
    for (let i = 0; i < rays; i++) {
      const turn = (i / rays) * 6.28, long = R + 8 + (i % 2) * 12 + r() * 4;
      node("path", { d: `M${(cx + Math.cos(turn) * (R + 4)).toFixed(1)} ${(cy + Math.sin(turn) * (R + 4)).toFixed(1)}L${(cx + Math.cos(turn) * long).toFixed(1)} ${(cy + Math.sin(turn) * long).toFixed(1)}`, stroke: i % 2 ? p.deep : p.mid, "stroke-width": 2.4, "stroke-linecap": "round" }, g);
    }
    node("circle", { cx, cy, r: R, fill: p.pop }, g);
    node("path", { d: `M0 ${cy + R * 0.45}Q50 ${cy + R * 0.1} 100 ${cy + R * 0.45}V${H}H0Z`, fill: p.deep, opacity: 0.92 }, g);
    node("path", { d: `M0 ${cy + R * 0.9}Q40 ${cy + R * 0.4} 100 ${cy + R * 1.1}V${H}H0Z`, fill: p.ink, opacity: 0.8 }, g);
  },
  function vase(g, H, r, p) {
    const cx = 42 + r() * 16, base = H * 0.88, tall = H * (0.32 + r() * 0.1), wide = 13 + r() * 8, neck = 4 + r() * 4, stems = 3 + Math.floor(r() * 3);
    node("rect", { x: 0, y: base, width: 100, height: H, fill: p.mid, opacity: 0.55 }, g);
    for (let i = 0; i < stems; i++) {
      const lean = (i - (stems - 1) / 2) * (9 + r() * 5), top = base - tall - H * (0.14 + r() * 0.16);
      node("path", { d: `M${cx} ${base - tall}Q${cx + lean * 0.3} ${(base - tall + top) / 2} ${cx + lean} ${top}`, fill: "none", stroke: p.deep, "stroke-width": 1.2 }, g);
      node(r() < 0.5 ? "circle" : "ellipse", { cx: cx + lean, cy: top, r: 4 + r() * 3, rx: 3, ry: 6 + r() * 3, fill: i % 2 ? p.pop : p.soft }, g);
    }
    node("path", { d: `M${cx - neck} ${base - tall}H${cx + neck}C${cx + neck} ${base - tall * 0.7} ${cx + wide} ${base - tall * 0.6} ${cx + wide} ${base - tall * 0.3}Q${cx + wide} ${base} ${cx + wide * 0.5} ${base}H${cx - wide * 0.5}Q${cx - wide} ${base} ${cx - wide} ${base - tall * 0.3}C${cx - wide} ${base - tall * 0.6} ${cx - neck} ${base - tall * 0.7} ${cx - neck} ${base - tall}Z`, fill: p.ink, opacity: 0.9 }, g);
    node("path", { d: `M${cx - wide * 0.96} ${base - tall * 0.36}Q${cx} ${base - tall * 0.26} ${cx + wide * 0.96} ${base - tall * 0.36}`, fill: "none", stroke: p.pop, "stroke-width": 1.6 }, g);
  },
];

/** The tile of an item as an SVG element; `ratio` is height over width. */
export function tile(item, ratio = ratioOf(item.item_id)) {
  const category = item.category || item.kind || "none", random = generator(hash(`tile ${item.item_id}`)), p = paletteOf(category, random);
  const H = 100 * ratio, id = `paint${++made}`;
  const svg = node("svg", { viewBox: `0 0 100 ${H}`, preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" });
  const paint = node("linearGradient", { id, x1: 0, y1: 0, x2: random() < 0.5 ? 1 : 0.3, y2: 1 }, node("defs", {}, svg));
  node("stop", { offset: 0, "stop-color": p.from }, paint);
  node("stop", { offset: 1, "stop-color": p.to }, paint);
  node("rect", { width: 100, height: H, fill: `url(#${id})` }, svg);
  const family = hash(`family ${category}`) + 3 * Math.floor(random() * 3); // three families to a category
  FAMILIES[family % FAMILIES.length](node("g", {}, svg), H, random, p);
  const letters = node("text", { x: 93, y: H - 7, "text-anchor": "end", class: "letters" }, svg);
  letters.textContent = initials(item.title || item.item_id);
  return svg;
}

/** A round avatar for a person or a creator. */
export function paintAvatar(element, name) {
  const hue = hueOf(name);
  element.textContent = initials(name);
  element.style.background = `linear-gradient(140deg, ${colour(0.66, 0.11, hue)}, ${colour(0.5, 0.11, hue + 40)})`;
}

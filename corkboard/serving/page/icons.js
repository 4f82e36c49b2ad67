// Line icons on a 24 x 24 canvas.

const PATHS = {
  save: "M6.5 4h11a1 1 0 0 1 1 1v15.2l-6.5-4.4-6.5 4.4V5a1 1 0 0 1 1-1z",
  hide: "M3.5 12s3-6 8.5-6c1.5 0 2.8.4 3.9 1M20.5 12s-1 2.1-3 3.8M9.9 9.9a3 3 0 0 0 4.2 4.2M4.5 4.5l15 15M6.6 7.4C4.6 9 3.5 12 3.5 12s3 6 8.5 6c1.7 0 3.2-.6 4.4-1.3",
  why: "M9.2 9.3a2.9 2.9 0 1 1 4.3 2.7c-.9.5-1.5 1.1-1.5 2.2M12 17.3v.1M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z",
  follow: "M12 5.5v13M5.5 12h13",
  followed: "M5 12.5l4.5 4.5L19 7.5",
  back: "M19.5 12H5M11 5.5L4.5 12l6.5 6.5",
  earlier: "M14.5 6L8.5 12l6 6",
  further: "M9.5 6l6 6-6 6",
  close: "M6 6l12 12M18 6L6 18",
  moon: "M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  click: "M5 5h6M5 5v14h14v-6M13.5 5H19v5.5M19 5l-8.5 8.5",
  undo: "M8 5L4 9l4 4M4 9h9.5a5.5 5.5 0 0 1 0 11H9",
  cart: "M3.5 4.5h2.2l2.1 11h10l2-7.5H6.6M9 20v.1M16.5 20v.1",
  eye: "M2.8 12S6 6 12 6s9.2 6 9.2 6-3.2 6-9.2 6-9.2-6-9.2-6zM12 9.3a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4z",
  look: "M4 8V5.5A1.5 1.5 0 0 1 5.5 4H8M16 4h2.5A1.5 1.5 0 0 1 20 5.5V8M20 16v2.5a1.5 1.5 0 0 1-1.5 1.5H16M8 20H5.5A1.5 1.5 0 0 1 4 18.5V16M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  camera: "M4.5 7.5h3L9 5h6l1.5 2.5h3a1 1 0 0 1 1 1V18a1 1 0 0 1-1 1h-15a1 1 0 0 1-1-1V8.5a1 1 0 0 1 1-1zM12 9.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  search: "M10.8 4a6.8 6.8 0 1 0 0 13.6 6.8 6.8 0 0 0 0-13.6zM15.8 15.8L20 20",
  category: "M4.5 12.6V5.5a1 1 0 0 1 1-1h7.1a1 1 0 0 1 .7.3l6.4 6.4a1 1 0 0 1 0 1.4l-7.1 7.1a1 1 0 0 1-1.4 0l-6.4-6.4a1 1 0 0 1-.3-.7zM8.6 8.6v.1",
  chosen: "M5 12.5l4.5 4.5L19 7.5",
  open: "M6.5 9.5L12 15l5.5-5.5",
  flag: "M6 21V4.5h11l-2 4 2 4H6",
};

export const ACTION_ICON = {
  save: "save", hide: "hide", follow: "follow", click: "click", long_click: "click", close_up: "eye", add_to_cart: "cart", checkout: "cart", report: "flag", block: "flag", undo: "undo",
};

/** An SVG line icon. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

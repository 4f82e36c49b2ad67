// The picture of an item: the lake's where there is one, else one that is drawn. A drawn one also stands in where loading fails.

import { authorised } from "./api.js";
import { ratioOf, tile } from "./tiles.js";

const SIDES = [160, 240, 320, 480], HERE = "/v1/images/", NARROWEST = 0.5, TALLEST = 2;

/** Whether the server has a picture of the item; what lies elsewhere is not loaded from here. */
export const hasPicture = (item) => typeof item.image === "string" && item.image.startsWith(HERE);

/** Height over width that the item is shown at: that of its picture, within what a column can bear. */
export function shownRatio(item) {
  if (!hasPicture(item) || !item.image_width) return ratioOf(item.item_id);
  return Math.min(Math.max(item.image_height / item.image_width, NARROWEST), TALLEST);
}

/** The picture of an item as an element; `sizes` is how wide it is shown, as for images of pages. */
export function picture(item, ratio = shownRatio(item), sizes = "auto, 280px") {
  if (!hasPicture(item)) return tile(item, ratio);
  const image = document.createElement("img");
  image.className = "photo";
  image.alt = item.title || item.item_id;
  image.loading = "lazy";
  image.decoding = "async";
  image.draggable = false;
  const { image_width: width, image_height: height } = item, longer = Math.max(width, height);
  if (width) Object.assign(image, { width, height });
  image.onerror = () => { if (image.isConnected) image.replaceWith(tile(item, ratio)); };
  if (authorised()) whenSeen(image, item.image);
  else {
    image.sizes = sizes;
    image.srcset = SIDES.filter((side) => side < longer).map((side) => `${item.image}?side=${side} ${Math.max(1, Math.round((side * width) / longer))}w`).concat(`${item.image} ${width || 512}w`).join(", ");
    image.src = item.image;
  }
  return image;
}

/** With a key a picture is asked for like everything else: an image of a page cannot say it. */
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) {
    watcher.unobserve(entry.target);
    load(entry.target);
  }
}, { rootMargin: "600px" });

function whenSeen(image, path) {
  image.dataset.path = path;
  watcher.observe(image);
}

async function load(image) {
  try {
    const address = URL.createObjectURL(await blobOf(image.dataset.path));
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.src = address;
  } catch (error) {
    console.warn("A picture could not be loaded:", error.message);
    image.onerror();
  }
}

/** The bytes of a picture of this server. */
export async function blobOf(path) {
  const response = await fetch(path, { headers: authorised() || {} });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.blob();
}

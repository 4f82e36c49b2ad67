"""Vision: images as arrays, the trunks that encode them, and labels learned from the text around them."""

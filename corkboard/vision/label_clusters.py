"""Classes from phrases: the long tail of phrases is clustered, so that each class has enough images and a head can tell them all apart.

A phrase is described by the images it is said of (a truncated singular value decomposition of phrases x images, normalised on both sides:
what is said of the same images is near) beside the mean vector of those images (what is said of images that look alike is near, as words
of two languages are). Spherical k-means makes the clusters, and those of too few images go to the nearest other.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.vision.config import LabelClusterConfig
from corkboard.vision.weak_labels import WeakLabels, csr

_ROUNDS = 50


def classes_of(labels: WeakLabels, vectors: np.ndarray, config: LabelClusterConfig, seed: int) -> WeakLabels:
    """Classes of ``labels``, each with ``min_images`` to ``max_images`` images; the score of a class is the best of its phrases.

    ``vectors`` float32 ``(images, dim)`` of any encoder. Without ``config.cluster`` each phrase of enough images is a class of its own.
    A class of too many images keeps those of its highest scores, equal ones by lot. Raises :class:`InputError` where no class is left.
    """
    if config.cluster and len(labels.members):
        described = phrase_vectors(labels, vectors, config, seed)
        clusters = spherical_kmeans(described, config.clusters, labels.counts**0.5, seed)
        found = _joined(labels, _merged(labels, clusters, described, config.min_images))
    else:
        found = labels
    found = found.only(found.counts >= config.min_images)
    if not found.members:
        raise InputError(
            "No label has enough images", found=int(labels.counts.max(initial=0)), expected=f"{config.min_images} images (min_images)"
        )
    return _capped(found, config.max_images, seed)


def phrase_vectors(labels: WeakLabels, vectors: np.ndarray, config: LabelClusterConfig, seed: int) -> np.ndarray:
    """float32 ``(labels, text_dim + dim)``, unit rows: what a phrase is said with, and what it looks like times ``image_weight``.

    Image vectors are unit and centred first, so that what all images share does not count.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    unit = unit - unit[labels.labelled].mean(axis=0)
    said = sp.csr_array(labels.scores.astype(bool).astype(np.float64).T)
    looks = said @ unit / np.maximum(labels.counts, 1)[:, None]
    both = np.concatenate([_unit(_occurrences(said, config.text_dim, seed)), config.image_weight * _unit(looks)], axis=1)
    return _unit(both).astype(np.float32)


def spherical_kmeans(vectors: np.ndarray, clusters: int, weights: np.ndarray, seed: int, tries: int = 4) -> np.ndarray:
    """int64 ``(n,)``: the cluster of each unit row, 0 to ``min(clusters, n) - 1``, none empty unless rows are equal; the best of ``tries``.

    Centres are weighted means scaled to length 1, and start as k-means++ draws them.
    """
    clusters = min(clusters, len(vectors))
    if clusters == len(vectors):
        return np.arange(clusters)
    best, highest = np.zeros(len(vectors), np.int64), -np.inf
    for attempt in range(tries):
        found, value = _kmeans_once(vectors, clusters, weights, generator(seed, "vision", "clusters", attempt))
        if value > highest:
            best, highest = found, value
    return best


def _kmeans_once(vectors: np.ndarray, clusters: int, weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    centres = vectors[[rng.choice(len(vectors), p=weights / weights.sum())]]
    nearest = vectors @ centres[0]
    for _ in range(1, clusters):
        chances = weights * np.maximum(1 - nearest, 0)
        new = rng.choice(len(vectors), p=chances / chances.sum()) if chances.sum() > 0 else rng.integers(len(vectors))
        centres = np.concatenate([centres, vectors[[new]]])
        nearest = np.maximum(nearest, vectors @ vectors[new])
    found = np.full(len(vectors), -1)
    for _ in range(_ROUNDS):
        cosines = vectors @ centres.T
        new = cosines.argmax(axis=1)
        if (new == found).all():
            break
        found = new
        sums = np.zeros_like(centres)
        np.add.at(sums, found, vectors * weights[:, None].astype(vectors.dtype))
        filled = np.bincount(found, minlength=clusters) > 0
        centres = np.where(filled[:, None], _unit(sums), centres)
    return found.astype(np.int64), float((weights * cosines[np.arange(len(found)), found]).sum())


def _occurrences(said: sp.csr_array, dim: int, seed: int) -> np.ndarray:
    """float64 ``(phrases, dim)``: left singular vectors times singular values of the normalised matrix; columns beyond its rank are 0."""
    by_phrase, by_image = (np.maximum(np.asarray(said.sum(axis=axis)).ravel(), 1.0) for axis in (1, 0))
    scaled = sp.csr_array(sp.diags_array(by_phrase**-0.5) @ said @ sp.diags_array(by_image**-0.5))
    found, k = np.zeros((said.shape[0], dim)), min(dim, min(said.shape) - 1)
    if k < 1:
        return found
    left, values, _ = svds(scaled, k=k, v0=generator(seed, "vision", "phrases").standard_normal(min(said.shape)))
    found[:, :k] = left * values
    return found


def _merged(labels: WeakLabels, clusters: np.ndarray, vectors: np.ndarray, min_images: int) -> np.ndarray:
    """int64 ``(labels,)``: clusters after the one of the fewest images went to its nearest, again and again, until all have enough."""
    clusters = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    carried = [set() for _ in range(clusters.max() + 1)]
    columns = sp.csc_array(labels.scores)
    for label, cluster in enumerate(clusters.tolist()):
        carried[cluster].update(columns.indices[columns.indptr[label] : columns.indptr[label + 1]].tolist())
    sums = np.zeros((len(carried), vectors.shape[1]))
    np.add.at(sums, clusters, vectors * labels.counts[:, None])
    left = set(range(len(carried)))
    while len(left) > 1:
        smallest = min(left, key=lambda cluster: (len(carried[cluster]), cluster))
        if len(carried[smallest]) >= min_images:
            break
        left.remove(smallest)
        others = np.array(sorted(left))
        nearest = int(others[(_unit(sums[others]) @ _unit(sums[[smallest]])[0]).argmax()])
        carried[nearest] |= carried[smallest]
        sums[nearest] += sums[smallest]
        clusters[clusters == smallest] = nearest
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def _joined(labels: WeakLabels, clusters: np.ndarray) -> WeakLabels:
    """One label a cluster: on an image the best score of its phrases."""
    count = int(clusters.max()) + 1
    scores = labels.scores
    image = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    place = image * count + clusters[scores.indices]
    places, inverse = np.unique(place, return_inverse=True)
    best = np.zeros(len(places), np.float32)
    np.maximum.at(best, inverse, scores.data)
    members: list[dict[str, int]] = [{} for _ in range(count)]
    for phrases, cluster in zip(labels.members, clusters.tolist(), strict=True):
        members[cluster] |= phrases
    return WeakLabels(csr(best, places // count, places % count, (scores.shape[0], count)), tuple(members))


def _capped(labels: WeakLabels, most: int, seed: int) -> WeakLabels:
    columns = sp.csc_array(labels.scores)
    lots = generator(seed, "vision", "capped").random(columns.nnz)
    label = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    order = np.lexsort((lots, -columns.data, label))
    kept = order[np.arange(len(order)) - columns.indptr[label] < most]
    return WeakLabels(csr(columns.data[kept], columns.indices[kept], label[kept], columns.shape), labels.members)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

"""Does a picture look like the pictures that the network was trained on? Pure NumPy, on the network's embedding.

The embeddings of lesions, cut to length 1, lie close to a space of far fewer dimensions than they have numbers. The
strangeness of a picture is how far its embedding stands off that space; the manifest says above which limit a picture
is taken to show something else. Why this score and no other, with figures: docs/adr/0012.
"""

import io
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import OUT_OF_DISTRIBUTION
from dermabatch.npz import read_arrays

Embedding = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

_SHORTEST: Final = 1e-12
"""Length below which an embedding has no direction; it keeps its zeros, which lie far from every lesion."""


@dataclass(frozen=True, slots=True)
class Detector:
    """The space near which the embeddings of lesions lie.

    Attributes:
        mean: float32[D], a point of it.
        directions: float32[D, K], orthonormal; K is far smaller than D.
    """

    mean: Embedding
    directions: Embedding

    def strangeness(self, embedding: Embedding) -> Scores:
        """Distance of each of N embeddings, cut to length 1, from the space: float64[N], 0 (in it) to about 1.

        The residual of Wang et al., "ViM: Out-of-Distribution with Virtual-logit Matching" (CVPR 2022), taken on
        unit vectors as Mueller & Hein, "Mahalanobis++" (ICML 2025), found for distances in general.

        Args:
            embedding: float32[N, D], after global average pooling.
        """
        offset = unit(embedding) - self.mean
        beside = offset - (offset @ self.directions) @ self.directions.T
        return np.linalg.norm(beside, axis=1)  # type: ignore[no-any-return]

    def to_bytes(self) -> bytes:
        """As a file of the artifact: npz without pickles."""
        stream = io.BytesIO()
        np.savez_compressed(stream, mean=self.mean, directions=self.directions)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactRefused: it is something else.
        """
        arrays = read_arrays(content, of=OUT_OF_DISTRIBUTION, names=("mean", "directions"))
        mean, directions = arrays["mean"], arrays["directions"]
        fits = mean.ndim == 1 and directions.ndim == 2 and len(directions) == len(mean)
        if not fits or {mean.dtype, directions.dtype} != {np.dtype(np.float32)}:
            raise ArtifactRefused(
                f"Expected float32[D] and float32[D, K] in {OUT_OF_DISTRIBUTION}."
                f" Received: {mean.dtype}{mean.shape} and {directions.dtype}{directions.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(directions).all()):
            raise ArtifactRefused(
                f"Expected finite numbers in {OUT_OF_DISTRIBUTION}. Received: NaN or infinity"
            )
        return cls(mean, directions)


def unit(embedding: Embedding) -> Scores:
    """The embeddings cut to length 1, float64[N, D]."""
    lengths = np.linalg.norm(embedding.astype(np.float64), axis=1, keepdims=True)
    return embedding / np.maximum(lengths, _SHORTEST)  # type: ignore[no-any-return]


def read_detector(artifact: Artifact) -> Detector:
    """The detector of a model.

    Raises:
        ArtifactRefused: its file changed since it was verified, or holds something else.
    """
    return Detector.from_bytes(artifact.read(OUT_OF_DISTRIBUTION))

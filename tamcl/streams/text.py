"""Text to be predicted, token by token: all of it at once, or one domain after the other."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from tamcl.errors import InputError
from tamcl.seeding import derive_seed
from tamcl.streams.base import Count, Indices, Normalization, Segment, Stream, Target
from tamcl.streams.fields import Order, unfit
from tamcl.streams.samples import arrange, deal


class Text(Stream):
    """Windows of text in which every next token is predicted; at each boundary other domains come, or none.

    With ``experiences = 1`` a language model is trained on all domains of the data set together, over several epochs.
    With more, the domains are split over the experiences, as evenly as can be: P(x) shifts, as from a tale to a play.

    Parameters
    ----------
    context : int
        Tokens of an input. The text of a domain is cut into windows that follow one another, each of which is an
        example by itself: nothing is carried over from the one before, and the first token of a window is predicted by
        the last of it. What is left at the end of a domain is not used.
    domain_order : {"fixed", "random"} or list of int
        Order in which the domains come: as they are numbered, drawn from the seed, or as given.
    samples : int, optional
        Windows in an experience, drawn from those of its domains; all there are if absent.
    batch_size : int
        Windows in a mini-batch.

    Notes
    -----
    Results count tokens: a loss is a mean over tokens, in nats, and the accuracy is the share of tokens that the model
    thought the likeliest. Text is neither normalised nor augmented.

    Without a shift (``oracle="no_shift"``) the windows of all domains are dealt out evenly, as many to an experience as
    it has otherwise.

    Examples
    --------
    >>> stream = Text(name="text", dataset="toy", experiences=2, context=2)
    >>> domains = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    >>> for segment in stream.segments(domains, domains, classes=2, seed=0):
    ...     print(segment.train_index, segment.train_labels, segment.context)
    [0 2] [0 0] 2
    [6] [1] 2
    """

    target: ClassVar[Target] = "token"

    name: Literal["text"]
    normalization: Normalization = "none"
    context: Count = 64
    domain_order: Order = "fixed"

    @model_validator(mode="after")
    def _of_text(self) -> Self:
        for setting in ("normalization", "augmentation"):
            if getattr(self, setting) != "none":
                raise unfit(setting, f"'{getattr(self, setting)}' is for images; text has 'none'")
        return self

    def most(self, available: int) -> int:
        """Return how many windows an experience has at most."""
        return available // self.context if self.samples is None else self.samples

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        rng = np.random.default_rng(derive_seed(seed, "stream"))
        order = arrange(self.domain_order, classes, "domain_order", "domains", rng)
        if self.experiences > classes:
            raise InputError(f"stream.experiences = {self.experiences}: at most {classes}, as the text has domains")
        tasks = np.array_split(order, self.experiences)
        train = [self._drawn(self._windows(train_y, task, "training"), rng) for task in tasks]
        test = [self._windows(test_y, task, "validation") for task in tasks]
        if not self.shifts:
            dealing = np.random.default_rng(derive_seed(seed, "stream", 2))
            train, test = deal(train, train_y, dealing), deal(test, test_y, dealing)
        every = tuple(range(classes))
        return [
            Segment(rows, train_y[rows], test_rows, test_y[test_rows], 0, every, context=self.context)
            for rows, test_rows in zip(train, test, strict=True)
        ]

    def _windows(self, domains: Indices, task: Indices, part: str) -> Indices:
        """Return where the windows of some domains begin: a token more than the context lies in the domain."""
        starts = []
        for domain in np.sort(task):
            first, end = np.searchsorted(domains, [domain, domain + 1])
            if end - first <= self.context:
                raise InputError(
                    f"stream.context = {self.context}: the {part} text of domain {domain} has {end - first} tokens; an "
                    f"input and the token after it need {self.context + 1}"
                )
            starts.append(np.arange(first, end - self.context, self.context))
        return np.concatenate(starts)

    def _drawn(self, windows: Indices, rng: np.random.Generator) -> Indices:
        if self.samples is None:
            return windows
        if self.samples > len(windows):
            raise InputError(f"stream.samples = {self.samples}: an experience has {len(windows)} windows of text")
        return np.sort(rng.permutation(windows)[: self.samples])

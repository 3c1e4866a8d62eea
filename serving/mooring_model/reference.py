"""The reference profile of a package: inputs as trained on, the score held out where it can be."""

from dataclasses import dataclass, replace

import numpy as np

from mooring_model.prediction import Array, Columns, Prediction
from mooring_model.schema import Inference, InputKind, ModelSchema, Task
from mooring_profile.blocks import MIN_BLOCKS
from mooring_profile.build import ProfilePlan, build_profile
from mooring_profile.document import (
    CLASS_STREAM,
    SCORE_STREAM,
    FeatureKind,
    ReferenceProfile,
    SegmentProfile,
    SelfTest,
)


@dataclass(frozen=True, eq=False)
class AnsweredRows:
    """Rows of a table with what the model answers.

    Attributes:
        columns: by feature, [rows] each.
        prediction: the model's.
        blocks: the day of each row, int64 [rows]; None when no time is known.
    """

    columns: Columns
    prediction: Prediction
    blocks: Array | None


@dataclass(frozen=True)
class ReferenceMaker:
    """Makes profiles for a model.

    Attributes:
        schema: the model's.
        inference: its threshold.
        segments: features by whose values rows are counted apart.
    """

    schema: ModelSchema
    inference: Inference
    segments: tuple[str, ...] = ()

    def profile(self, train: AnsweredRows, held_out: AnsweredRows | None) -> ReferenceProfile:
        """Returns the profile of the training rows, its score that of held-out ones.

        Raises:
            ProfileInvalid: segments by what is no feature.
        """
        profile = self._profile_of(train)
        if held_out is not None:
            profile = _with_scores_of(profile, self._profile_of(held_out))
        return profile

    @property
    def kinds(self) -> dict[str, FeatureKind]:
        """The kind of each feature."""
        return {
            spec.name: FeatureKind.NUMERIC
            if spec.kind is InputKind.NUMERIC
            else FeatureKind.CATEGORICAL
            for spec in self.schema.inputs
        }

    def _profile_of(self, rows: AnsweredRows) -> ReferenceProfile:
        binary = self.schema.task is Task.BINARY
        enough = rows.blocks is not None and np.unique(rows.blocks).size >= MIN_BLOCKS
        columns, kinds, segments = dict(rows.columns), self.kinds, self.segments
        if self.schema.task is Task.MULTICLASS:
            columns[CLASS_STREAM] = rows.prediction.outputs["label"]
            kinds[CLASS_STREAM] = FeatureKind.CATEGORICAL
            segments = (*segments, CLASS_STREAM)
        return build_profile(
            columns,
            kinds,
            score=rows.prediction.score,
            blocks=rows.blocks,
            plan=ProfilePlan(
                segments=segments,
                threshold=self._threshold if binary else None,
                multivariate=True,
                self_test=enough,
            ),
        )

    @property
    def _threshold(self) -> float:
        return 0.5 if self.inference.threshold is None else self.inference.threshold


def _with_scores_of(profile: ReferenceProfile, other: ReferenceProfile) -> ReferenceProfile:
    """A profile with the score streams of another, and what its self-test says of them."""
    scores = {
        part.segment: part.streams[-1]
        for part in other.segments
        if part.streams and part.streams[-1].feature == SCORE_STREAM
    }
    parts: list[SegmentProfile] = []
    for part in profile.segments:
        kept = [stream for stream in part.streams if stream.feature != SCORE_STREAM]
        held_out = [scores[part.segment]] if part.segment in scores else []
        if kept or held_out:
            parts.append(replace(part, streams=(*kept, *held_out)))
    return replace(
        profile,
        score=other.score,
        predicted=other.predicted,
        segments=tuple(parts),
        self_test=_joined(profile.self_test, other.self_test),
    )


def _joined(inputs: SelfTest | None, scores: SelfTest | None) -> SelfTest | None:
    if inputs is None:
        return None
    of_scores = () if scores is None else scores.streams
    return replace(
        inputs,
        streams=(
            *(test for test in inputs.streams if not _of_score(test.stream)),
            *(test for test in of_scores if _of_score(test.stream)),
        ),
    )


def _of_score(stream: str) -> bool:
    """Whether it is of what the model answers."""
    return stream.rpartition("/")[2] in (SCORE_STREAM, CLASS_STREAM)

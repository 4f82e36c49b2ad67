"""Build what is stale, stage by stage, and let each stage go live when it passes its gates."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from corkboard.artifacts import Artifact, Release, Releases, sweep_staging
from corkboard.errors import InputError, LakeError
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.pipeline.ledger import Ledger, Progress
from corkboard.pipeline.purge import publishing
from corkboard.pipeline.steps import Step, StepInput


@dataclass(frozen=True)
class Stage:
    """A release in the making: its label and, by role, the step that makes each part."""

    label: str
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """Steps in the order they can run, and the stages they add up to, worst release first."""

    steps: Sequence[Step]
    stages: Sequence[Stage]

    def stages_from(self, live: Release | None) -> Sequence[Stage]:
        """The stages that may follow what is live: all, where nothing is."""
        labels = [stage.label for stage in self.stages]
        return self.stages[labels.index(live.label) :] if live is not None and live.label in labels else self.stages

    def needed_by(self, titles: Sequence[str]) -> list[Step]:
        """The steps behind ``titles``, themselves included, in the order they can run."""
        by_title = {step.title: step for step in self.steps}
        wanted: set[str] = set()
        waiting = list(titles)
        while waiting:
            title = waiting.pop()
            if title not in wanted:
                wanted.add(title)
                waiting += by_title[title].needs
        return [step for step in self.steps if step.title in wanted]


@dataclass
class BuildReport:
    """What a build made, what was still good, and which release is live at its end."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    refused: list[dict] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Stages that the data is too small for, and why."""
    withdrawn: list[str] = field(default_factory=list)
    """Releases that passed but were taken out of service by hand before; `corkboard release promote` brings one back."""
    said: dict[str, str] = field(default_factory=dict)
    """What steps that were made have to say, by step."""
    live: str | None = None

    def to_dict(self) -> dict:
        return vars(self)


@dataclass
class Builder:
    """Runs the steps of a plan over one frozen lake. Artefacts that are still good are taken as they are."""

    folder: Path
    plan: Plan
    lake: Lake
    calendar: Calendar
    seed: int
    ledger: Ledger
    progress: Progress

    def __post_init__(self) -> None:
        self._made: dict[str, Artifact] = {}
        self.report = BuildReport()

    def artifact(self, title: str) -> Artifact:
        """The artefact of one step, made now if it is stale, after everything it needs."""
        for step in self.plan.needed_by([title]):
            if step.title not in self._made:
                self._made[step.title] = self._run(step)
        return self._made[title]

    def _run(self, step: Step) -> Artifact:
        root = self.folder / "artifacts"
        inputs = {title: self._made[title] for title in step.needs}
        key = step.key(self.lake, self.calendar, inputs, self.seed)
        found = step.find(root, key)
        if found is not None:
            self.report.kept.append(step.title)
            return found
        lake, earlier = self.lake.until(step.cut(self.calendar)), partial(step.others, root, key)
        given = StepInput(lake, self.calendar, inputs, step.config, self.seed, key, self.progress, earlier)
        with self.ledger.time(step.title):
            made = step.run(given)
            with self._publishing():
                artifact = step.write(root, key, given, made)
        self.report.made.append(step.title)
        if made.said:
            self.report.said[step.title] = made.said
        return artifact

    def release(self, stage: Stage) -> Release:
        """Write the release of a stage; it is not live yet."""
        artifacts = {role: self.artifact(title) for role, title in stage.roles.items()}
        with self._publishing():
            return Releases(self.folder).write(stage.label, artifacts)

    @property
    def overtaken(self) -> bool:
        """Whether rows of somebody were purged since the lake was opened: nothing of this build may become known any more."""
        return self.lake.refresh().purges != self.lake.purges

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        """Hold the lock that purges take. What was read before a purge is not written after it. Raises :class:`LakeError`."""
        with publishing(self.folder):
            if self.overtaken:
                raise LakeError("A user was deleted while this was being built", hint="Build again: `corkboard build`.")
            yield


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """Hold the workspace for one build. A second build at the same time gets a clear :class:`LakeError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "build.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LakeError("Another build is running in this workspace", found=str(folder), hint="Wait for it, or stop it.") from None
        lock.write(str(os.getpid()))
        lock.flush()
        sweep_staging(folder / "artifacts")
        yield


Announce = Callable[[str, Release], None]


def build_stages(builder: Builder, passes_gates: Callable[[Release], list[dict]], announce: Announce | None = None) -> BuildReport:
    """Build every stage of the plan, promoting each release that passes its gates.

    ``passes_gates(release)`` returns the gates that failed, an empty list when it may go live. A release of a later stage that
    fails leaves the one before it live, and the report says why. What is live is never replaced by an earlier stage: the ladder
    is there to serve something at once, and where something serves already only its own stage or a later one follows.
    """
    releases = Releases(builder.folder)
    for stage in builder.plan.stages_from(releases.current()):
        try:
            release = builder.release(stage)
        except InputError as error:  # there is too little data for this stage: the one before it serves
            builder.report.skipped[stage.label] = str(error)
            continue
        with builder.ledger.time(f"gates of {stage.label!r}"):
            failed = passes_gates(release)
        if failed:
            builder.report.refused.append({"release": release.id, "label": release.label, "gates": failed})
            continue
        if release.id in releases.withdrawn():
            builder.report.withdrawn.append(release.id)
            continue
        if releases.current_id() != release.id:
            releases.promote(release.id)
            builder.report.promoted.append(release.id)
        if announce is not None:
            announce(stage.label, release)
    builder.report.live = releases.current_id()
    return builder.report

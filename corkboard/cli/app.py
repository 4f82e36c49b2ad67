"""The verbs, put together."""

from __future__ import annotations

import typer

from corkboard.cli import (
    build,
    check,
    config,
    demo,
    doctor,
    evaluate,
    experiment,
    feed,
    ingest,
    judge,
    look,
    rank,
    release,
    rescore,
    serve,
    show,
    simulate,
)

app = typer.Typer(
    name="corkboard",
    help="A personalization engine: events -> features -> embeddings -> index -> candidates -> ranking -> feed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (demo.demo, ingest.ingest, check.check, build.build, evaluate.evaluate, serve.serve, feed.feed, look.look):
    app.command()(verb)
for verb in (rank.rank, show.show, simulate.simulate, rescore.rescore, config.config, doctor.doctor):
    app.command()(verb)
app.add_typer(release.app, name="release")
app.add_typer(experiment.app, name="experiment")
app.add_typer(judge.app, name="judge")

"""`make demo`: the whole loop on the real flights of 2013, on a real Kubernetes, on one screen."""

import json
import sys
import traceback

from tests.cluster_tools.errors import ClusterError
from tests.demo.models import train_v1, train_v2, train_v3
from tests.demo.narrator import Narrator
from tests.demo.replay import Replay, Tally
from tests.demo.resources import MODEL, PROD, Version, namespaces
from tests.demo.setting import (
    PACKAGES,
    ROOT,
    clear,
    day,
    departures,
    install,
    open_store,
    publish,
    raise_cluster,
    service_url,
)
from tests.demo.story import Story
from tests.demo.world import StoryStuck, World

RATE = 120.0
"""Requests a second: a load that two cores carry beside everything else."""
EVERY = 4
"""Each how manyth flight is replayed."""
RESULT = ROOT / "build" / "demo.json"


def main() -> int:
    """Plays the demo; 0 when the story reached its end without a failed client request."""
    narrator = Narrator()
    try:
        return _play(narrator)
    except (ClusterError, StoryStuck) as error:
        traceback.print_exc()
        narrator.say(f"the demo stopped: {error}")
        return 1


def _play(narrator: Narrator) -> int:
    with narrator.phase("cluster", "A real Kubernetes on this machine"):
        cluster = raise_cluster(narrator)
    world = World(cluster)
    with narrator.phase("install", "Mooring, and a store for packages and logs"):
        clear(narrator, cluster)
        install(narrator, cluster)
        inside, outside = open_store(cluster)
        world.apply(namespaces(inside))
    with narrator.phase("models", "Three versions of a delay model from the winter of 2013"):
        versions: dict[str, Version] = {}
        for name, train in (("v1", train_v1), ("v2", train_v2), ("v3", train_v3)):
            trained = train(PACKAGES / name)
            versions[name] = publish(PACKAGES / name, outside, name=name)
            narrator.say(f"{name}: {trained}")
        flights = departures(every=EVERY, start=day(3, 1), end=day(12, 1))
    story = Story(narrator, world, versions)
    with narrator.phase("deploy", "Model, ModelDeployment and RetrainPolicy in dev, preprod, prod"):
        story.deploy_first_version()
    seconds_a_day = len(flights) / 275 / RATE
    narrator.say(
        f"traffic: each {EVERY}th flight from 1 March on, {RATE:.0f} a second through the Service;"
        f" a replay day lasts {seconds_a_day:.1f} s, labels follow at arrival time"
    )
    replay = Replay(service_url(cluster, MODEL, PROD.namespace), MODEL, flights, RATE)
    replay.start()
    try:
        _acts(narrator, story, replay)
    finally:
        tally = replay.stop()
    return _end(narrator, story, tally)


def _acts(narrator: Narrator, story: Story, replay: Replay) -> None:
    with narrator.phase("rollback", "(a) v2, whose training had hours where serving has minutes"):
        story.bad_version_is_rolled_back(RESULT.parent)
    with narrator.phase("promotion", "(b) v3, a good version, by channel"):
        story.good_version_is_promoted()
    with narrator.phase("drift", "(c) Summer arrives"):
        story.drift_is_announced(replay)
    with narrator.phase("retrain", "(c) The policy retrains"):
        story.model_is_retrained(replay)


def _end(narrator: Narrator, story: Story, tally: Tally) -> int:
    narrator.say("(d) What the cluster tells without a log")
    kubectl = story.world.cluster.kubectl
    narrator.show("$ kubectl get mdl,mdep,rtp -A")
    narrator.show(kubectl("get", "mdl,mdep,rtp", "-A"))
    narrator.show(f"$ kubectl get events -n {PROD.namespace} (of Mooring's kinds)")
    columns = "TYPE:.type,OBJECT:.involvedObject.kind,REASON:.reason,MESSAGE:.message"
    narrator.show(
        kubectl(
            "get", "events", "-n", PROD.namespace, "--sort-by=.lastTimestamp",
            "-o", f"custom-columns={columns}",
            "--field-selector=involvedObject.apiVersion=mooring.dev/v1alpha1",
        )
    )  # fmt: skip
    requests = {"sent": tally.sent, "failed": tally.failed, "labelled": tally.labelled}
    phases = [{"name": name, "seconds": seconds} for name, seconds in narrator.phases]
    result = {"requests": requests, "versions": tally.versions} | story.results | {"phases": phases}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    narrator.say(
        f"{tally.sent} client requests, {tally.failed} failed, by version {tally.versions}"
    )
    for failure in tally.failures:
        narrator.say(f"failed: {failure}")
    narrator.say(", ".join(f"{name} {seconds:.0f} s" for name, seconds in narrator.phases))
    narrator.say(f"written: {RESULT.relative_to(ROOT)}. The cluster stays up. Look around:")
    narrator.show('eval "$(.venv/bin/python -m tests.cluster_tools env)"')
    narrator.show("kubectl get mdep -A -o wide; kubectl describe mdep -n flights-prod")
    narrator.show("make cluster-down   # and leave nothing behind")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())

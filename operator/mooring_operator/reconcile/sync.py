"""Rounds of signed messages to pods: routes go out, cumulative counters come back.

One round per deployment each interval, at once when its routes change or a pod becomes ready,
and faster than the pods' time-to-live while a rollout goes on. Only the leader runs rounds.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from mooring_operator.api.deployment import ModelDeployment, Monitoring
from mooring_operator.api.group import Kind, Label
from mooring_operator.core.decision import Route
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.core.runtime import fold
from mooring_operator.errors import MooringError, PodRefused
from mooring_operator.ids import ObjectKey, Revision
from mooring_operator.io.clock import Clock
from mooring_operator.io.fields import text_at
from mooring_operator.io.pods import PodClient
from mooring_operator.metrics import DeploymentSeries, OperatorMetrics
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.drift_watch import (
    Watcher,
    monitoring_series,
    quality_series,
    watch_settings,
)
from mooring_operator.reconcile.messages import Messages
from mooring_operator.reconcile.parse import parsed_or_none
from mooring_operator.reconcile.pod_reports import is_ready
from mooring_operator.reconcile.snapshots import Identity, parse_identity, parse_snapshot
from mooring_operator.reconcile.sync_state import DeploymentState, ReadyPod, Terms, Told

log = logging.getLogger(__name__)
_SOON = timedelta(seconds=1)
"""Pause before the next round after one that some pod did not answer, or while one leaves."""
_SLOWEST = timedelta(minutes=5)
_PATIENCE = 0.5
"""Seconds after which a round goes on without a pod that has not answered: a frozen one must not
delay what the others are told next."""

T = TypeVar("T")
Notify = Callable[[ObjectKey], None]


@dataclass(frozen=True)
class SyncTools:
    """What sync works with."""

    pods: PodClient
    messages: Messages
    clock: Clock
    metrics: OperatorMetrics
    ttl: timedelta


class Sync:
    """Talks to the pods of every deployment."""

    def __init__(
        self, cache: Cache, tools: SyncTools, *, wake: Notify, review: Notify, schedule: Notify
    ) -> None:
        """Takes whom to tell.

        Args:
            cache: where pods and deployments are found.
            tools: the outside.
            wake: makes a deployment be reconciled.
            review: has it reconciled after those that changed.
            schedule: makes a round of a deployment run soon.
        """
        self._cache, self._tools = cache, tools
        self._wake, self._review, self._schedule = wake, review, schedule
        self._states: dict[ObjectKey, DeploymentState] = {}
        self._watchers: dict[ObjectKey, Watcher] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}
        # Reading a profile takes tens of milliseconds and a window of many segments more: too long
        # for the loop. One thread, so that many deployments at once cannot starve it either.
        self._judge = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")

    def push(self, key: ObjectKey, routes: Mapping[Revision, Route]) -> None:
        """Takes the decided routes; a change of them is told at once."""
        if key.kind != Kind.MODEL_DEPLOYMENT.value:
            return
        state = self._states.setdefault(key, DeploymentState())
        if state.routes != routes:
            state.routes = dict(routes)
            self._schedule(key)

    def noticed(self, key: ObjectKey) -> None:
        """Something about a deployment changed.

        New ready pods are told their route at once; leaving ones give their last counters.
        """
        state = self._states.get(key)
        if state is None:
            return
        if frozenset(pod.uid for pod in self._ready(key, state)) != state.polled:
            self._schedule(key)

    def forget(self, key: ObjectKey) -> None:
        """Drops what is known of a deployment that is no more."""
        self._states.pop(key, None)
        self._watchers.pop(key, None)
        self._tools.metrics.deployments.forget(key.namespace, key.name)

    def telemetry(self, key: ObjectKey) -> TelemetryObservation | None:
        """What the pods' counters say as of now; None before the first complete round."""
        state = self._states.get(key)
        if state is None or state.terms is None:
            return None
        patience = 2 * self._period(state, state.terms.interval).total_seconds()
        now = self._tools.clock.monotonic()
        return state.telemetry(self._ready(key, state), now, patience)

    async def round(self, key: ObjectKey) -> timedelta | None:
        """One message to every ready pod of every live revision; returns when the next is due."""
        state = self._states.get(key)
        terms = None if state is None else self._terms(key, state)
        if state is None or terms is None or not state.routes:
            return None
        started = self._tools.clock.monotonic()
        ready = self._ready(key, state)
        present = {text_at(pod, "metadata", "uid") for pod in self._cache.linked("Pod", key)}
        state.keep(ready, present, started)
        state.polled = frozenset(pod.uid for pod in ready)
        leaving = [known.pod for uid, known in state.pods.items() if uid not in state.polled]
        answered = await self._ask_all(state, (*ready, *leaving), terms.uid)
        complete = state.polled <= answered
        state.at = state.heard(self._tools.clock.now())
        self._watch_runtime(state, ready, terms)
        await self._watch_drift(key, state, terms.monitoring)
        elapsed = self._tools.clock.monotonic() - started
        self._tools.metrics.sync_round_time.observe(elapsed)
        if self._states.get(key) is state:  # it may be forgotten meanwhile
            self._tools.metrics.deployments.tell(key.namespace, key.name, _series(state))
        self._tell(key, state)
        if not present and self._is_at_rest(key, state):
            return None
        # A leaving pod counts on until it is gone, and its last numbers go with it.
        hurry = not complete or any(pod.uid in answered for pod in leaving)
        return self._next(key, state, terms.interval, hurry=hurry)

    async def _ask_all(
        self, state: DeploymentState, pods: Iterable[ReadyPod], deployment_uid: str
    ) -> set[str]:
        """One message to each pod at once; returns the uids of those that answered it in time.

        A pod that still has an earlier message is not asked again before that is over.
        """
        free = [pod for pod in pods if pod.uid not in self._asking]
        for pod in free:
            task = asyncio.create_task(self._exchange(state, pod, deployment_uid))
            self._asking[pod.uid] = task
            task.add_done_callback(lambda _, uid=pod.uid: self._asking.pop(uid))
        asked = {pod.uid: self._asking[pod.uid] for pod in free}
        try:
            if asked:
                await asyncio.wait(asked.values(), timeout=_PATIENCE)
        except asyncio.CancelledError:
            for task in asked.values():
                task.cancel()
            raise
        return {uid for uid, task in asked.items() if task.done() and task.result()}

    async def _exchange(self, state: DeploymentState, pod: ReadyPod, deployment_uid: str) -> bool:
        """One message to one pod; returns whether it answered. Asks again who it is once."""
        try:
            try:
                await self._send(state, pod, deployment_uid)
            except PodRefused:
                if state.pods[pod.uid].identity is None:
                    raise  # it is not who it should be
                state.identified(pod.uid, None)  # it may have restarted: another boot nonce
                await self._send(state, pod, deployment_uid)
        except MooringError as error:
            refused = isinstance(error, PodRefused)
            self._tools.metrics.sync_answers.labels("refused" if refused else "unreachable").inc()
            log.log(logging.WARNING if refused else logging.INFO, "sync of %s: %s", pod.uid, error)
            return False
        self._tools.metrics.sync_answers.labels("ok").inc()
        return True

    async def _send(self, state: DeploymentState, pod: ReadyPod, deployment_uid: str) -> None:
        identity = state.pods[pod.uid].identity or await self._identify(pod, deployment_uid)
        state.identified(pod.uid, identity)
        # Read as late as possible: the routes may have changed while we asked.
        route = state.routes.get(pod.revision)
        if route is None:
            return  # nobody decides about this revision any more
        message = self._tools.messages.message(identity, route)
        told_at = self._tools.clock.now()
        answer = await self._tools.pods.sync(pod.address, message.body)
        snapshot = parse_snapshot(answer, f"pod {pod.uid}")
        if snapshot.pod_uid != pod.uid or snapshot.acknowledged != message.number:
            raise PodRefused(f"pod {pod.uid} answered for {snapshot.pod_uid} or another message")
        told = Told(message.route, told_at, self._tools.clock.monotonic())
        state.answered(pod.uid, told, snapshot)

    async def _identify(self, pod: ReadyPod, deployment_uid: str) -> Identity:
        answer = await self._tools.pods.identity(pod.address)
        identity = parse_identity(answer, f"pod {pod.uid}")
        if identity.pod_uid != pod.uid or identity.deployment_uid != deployment_uid:
            raise PodRefused(
                f"{pod.address} says it is pod {identity.pod_uid} of deployment "
                f"{identity.deployment_uid}, not {pod.uid} of {deployment_uid}"
            )
        return identity

    def _watch_runtime(self, state: DeploymentState, ready: list[ReadyPod], terms: Terms) -> None:
        look = state.look(ready, self._tools.clock.now())
        if look is not None:
            limit, interval = terms.max_errors, terms.interval
            state.runtime = fold(state.runtime, look, limit=limit, interval=interval)

    async def _watch_drift(
        self, key: ObjectKey, state: DeploymentState, monitoring: Monitoring
    ) -> None:
        watcher = self._watchers.setdefault(key, Watcher())
        settings = watch_settings(state.stable, monitoring)
        now = self._tools.clock.now()
        if watcher.needs_profile(settings):
            answered = [
                known.pod
                for known in state.pods.values()
                if known.pod.revision == state.stable and known.snapshot is not None
            ]
            for pod in answered[:1]:
                try:
                    profile = await self._tools.pods.profile(pod.address)
                    await self._judged(watcher.begin, profile, now)
                except MooringError as error:
                    watcher.lacks_profile(f"Pod {pod.uid} did not give its profile: {error}")
        if settings is None:
            state.lost.clear()
        elif watcher.window_ends is not None and now >= watcher.window_ends:
            judged, state.lost = [*state.snapshots(), *state.lost.values()], {}
            await self._judged(watcher.fold, judged, now)
            if monitoring.labels is not None:
                await self._judged(watcher.judge_labels, state.labelled(), now)
        state.quality = watcher.quality
        state.watch, state.trouble = watcher.watch, watcher.trouble

    async def _judged(self, judge: Callable[[T, datetime], object], what: T, now: datetime) -> None:
        await asyncio.get_running_loop().run_in_executor(self._judge, judge, what, now)

    def _tell(self, key: ObjectKey, state: DeploymentState) -> None:
        """Wakes the deployment when something that it decides by is new."""
        telemetry = self.telemetry(key)
        if telemetry is None:
            return
        coverage = telemetry.coverage
        news = (
            telemetry.fresh,
            telemetry.routes,
            telemetry.drift,
            telemetry.trouble,
            telemetry.quality,
            telemetry.runtime and (telemetry.runtime.failing, telemetry.runtime.down),
            telemetry.answering,
            telemetry.labelled,
            None if coverage is None else round(coverage, 2),
            telemetry.phases if state.rolling else None,
            telemetry.at if state.rolling else None,
        )
        if news == state.told:
            return
        is_first, state.told = state.told is None, news
        # After a start of ours every deployment has first news, nearly always what its status says
        # already. They must not delay whoever edits one, but a rollout waits for nothing else.
        is_old = is_first and state.terms is not None and state.terms.was_heard
        (self._review if is_old and not state.rolling else self._wake)(key)

    def _is_at_rest(self, key: ObjectKey, state: DeploymentState) -> bool:
        """Whether, without any pod, the next round would find what this one found.

        That nobody serves must have been seen often enough to count. The first ready pod brings
        the rounds back.
        """
        watcher = self._watchers.get(key)
        is_watching = watcher is not None and watcher.window_ends is not None
        is_known = state.stable is None or (state.runtime is not None and state.runtime.down)
        return is_known and not (state.pods or state.rolling or is_watching)

    def _next(
        self, key: ObjectKey, state: DeploymentState, interval: timedelta, *, hurry: bool
    ) -> timedelta:
        period = self._period(state, interval)
        watcher = self._watchers.get(key)
        if watcher is not None and watcher.window_ends is not None:
            until = watcher.window_ends - self._tools.clock.now()
            period = min(period, max(until, timedelta(milliseconds=100)))
        return min(period, _SOON) if hurry else period

    def _period(self, state: DeploymentState, interval: timedelta) -> timedelta:
        bound = self._tools.ttl / 3 if state.rolling else _SLOWEST
        return max(min(interval, bound), timedelta(milliseconds=100))

    def _terms(self, key: ObjectKey, state: DeploymentState) -> Terms | None:
        """The terms as the cache has them: thousands of rounds a minute must not parse them."""
        version = self._cache.version(key)
        if version is None:
            state.terms = None
        elif state.terms is None or state.terms.version != version:
            resource = parsed_or_none(ModelDeployment, self._cache.get(key))
            state.terms = None if resource is None else Terms.of(resource, version)
        return state.terms

    def _ready(self, key: ObjectKey, state: DeploymentState) -> list[ReadyPod]:
        return [
            ReadyPod(
                uid=text_at(pod, "metadata", "uid"),
                address=text_at(pod, "status", "podIP"),
                revision=Revision(revision),
            )
            for pod in self._cache.linked("Pod", key)
            if is_ready(pod)
            and (revision := text_at(pod, "metadata", "labels", Label.REVISION.value))
            in state.routes
        ]


def _series(state: DeploymentState) -> DeploymentSeries:
    return DeploymentSeries(
        rows=state.rows(),
        retired_answers=state.retired_answers(),
        monitoring=monitoring_series(state.watch) | quality_series(state.quality),
    )

"""What changed of releases and rollouts, for the live channel."""

from collections.abc import Callable

from msgspec import Struct

from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.rollout_views import News
from voicestatus.web import rollout_views, views
from voicestatus.web.messages import ReleaseChanged, ReleaseGone, RolloutChanged
from voicestatus.web.rollouts_everywhere import AnyRollouts


class FirmwareFeed:
    """Tells how a release or a rollout is when it changes.

    News of rollouts come in bundles and those of releases are rare: nothing waits here.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        rollouts: AnyRollouts,
        tell: Callable[[str, Struct], object],
    ) -> None:
        """`tell` takes what a message is about, and the message."""
        self._catalogue, self._rollouts, self._tell = catalogue, rollouts, tell
        self._told: dict[str, views.Release] = {}
        self._leave: list[Callable[[], object]] = []

    def start(self) -> None:
        """Tell from now on."""
        self._told = {release.id: release for release in self.releases()}
        self._leave = [
            self._catalogue.subscribe(self._release_changed),
            self._rollouts.subscribe(self._rollout_changed),
        ]

    def stop(self) -> None:
        """Tell no more."""
        for leave in self._leave:
            leave()
        self._leave.clear()

    def releases(self) -> list[views.Release]:
        """Show all releases."""
        return [
            views.release_of(release, needed=self._catalogue.needed(release.id))
            for release in self._catalogue.releases()
        ]

    def rollouts(self) -> list[rollout_views.Rollout]:
        """Show the rollouts that have not ended."""
        found = self._rollouts.rollouts()
        return [rollout_views.rollout_of(one) for one in found if one.ended_at is None]

    def _release_changed(self, id_: str) -> None:
        release = self._catalogue.get(id_)
        if release is None:
            if self._told.pop(id_, None) is not None:
                self._tell(f"release {id_}", ReleaseGone(id_))
            return
        view = views.release_of(release, needed=self._catalogue.needed(id_))
        if self._told.get(id_) != view:
            self._told[id_] = view
            self._tell(f"release {id_}", ReleaseChanged(view))

    def _rollout_changed(self, news: News) -> None:
        shown = rollout_views.rollout_of(news.rollout)
        self._tell(f"rollout {shown.id}", RolloutChanged(shown))
        for release in shown.releases:  # it may be needed now, or no more
            self._release_changed(release)

"""A reload: the settings are loaded anew, and those that may change while the service runs do."""

from sweeper import events, logs, redact
from sweeper.app import App
from sweeper.errors import SettingsError
from sweeper.monitoring import systemd
from sweeper.monitoring.health import Health
from sweeper.postgres.errors import in_one_line
from sweeper.settings import Settings
from sweeper.web.server import Web


class Reload:
    """Takes over new settings as a whole, or none of them; asks nothing of the database."""

    def __init__(self, app: App, web: Web, health: Health) -> None:
        self._app = app
        self._web = web
        self._health = health

    def __call__(self) -> None:
        """Reload the settings, and log what came of it; nothing that they hold stops the service.

        systemd is told of it only where it knows that the service is ready: `READY=1` would
        otherwise end a start that is still under way.
        """
        is_told = self._health.has_begun and systemd.reloading()
        try:
            fresh = self._app.settings.again()
            fresh.demand()
            self._take(fresh)
        except SettingsError as error:
            events.SETTINGS_REFUSED.log(faults=str(error).splitlines())
        except Exception as error:  # noqa: BLE001 -- the settings from before stay in force
            events.SETTINGS_REFUSED.log(faults=[in_one_line(error)])
        finally:
            if is_told:
                systemd.ready()

    def _take(self, fresh: Settings) -> None:
        before = self._app.settings
        changed, unapplied = before.changes(fresh)
        # What was a secret is masked as well: who still uses it does not know better.
        redact.set_secrets([*before.secrets, *fresh.secrets])
        self._app.settings = taken = before.taking(fresh)
        self._web.renew(taken.web)
        logs.set_level(taken.log.level)
        events.SETTINGS_RELOADED.log(changed=changed, unapplied=unapplied)

"""Puts the monitor together: what it watches, what it knows, what it shows."""

from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec, Task
from svc_monitor.alert_manager import AlertManager
from svc_monitor.board import Board
from svc_monitor.feeds.all import open_feeds
from svc_monitor.journal import Journal
from svc_monitor.page.server import PageServer
from svc_monitor.page.snapshot import Snapshots
from svc_monitor.pulse import Pulse
from svc_monitor.service import MonitorServicer
from svc_monitor.settings import MonitorSettings
from svc_monitor.watcher import Watcher
from tradekit import services
from trading.monitor.v1 import monitor_service_pb2_grpc as pb_grpc


def build(settings: MonitorSettings, kit: Kit[MonitorSettings]) -> ServiceSpec:
    """The monitor as meshkit runs it. It is ready when its page is: it must live without the database."""
    pulse = Pulse()
    journal = Journal(kit)
    board = Board(settings, kit, pulse, journal.note)
    feeds, feed_tasks = open_feeds(settings, kit)
    alert_manager = AlertManager(settings, kit, board, feeds, journal, pulse)
    page = PageServer(settings, kit, Snapshots(settings, kit, board, alert_manager, feeds, journal), alert_manager)
    servicer = MonitorServicer(settings, kit, board, alert_manager, pulse)
    return ServiceSpec(
        servicers=[Registration(pb_grpc.add_MonitorServiceServicer_to_server, servicer, services.MONITOR.full_name)],
        background=[
            *Watcher(settings, kit, board).tasks(),
            *feed_tasks,
            Task("journal", journal.run),
            Task("alerts", alert_manager.run),
            Task("page", page.run),
        ],
        ready=[Check("page", page.check)],
    )

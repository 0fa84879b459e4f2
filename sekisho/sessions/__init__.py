"""Sessions of people in the dashboard, kept at the server: how far a log-in has come, and how long it lasts."""

from sekisho.sessions.actions import (
    act_for,
    advance,
    begin,
    end,
    end_acting_for,
    end_of,
    end_others,
    forget,
    remember,
    sweep,
    take_scratch,
    touch,
)
from sekisho.sessions.model import Begun, Method, Session, Stage
from sekisho.sessions.reading import find_session, session_by_id, sessions_of

__all__ = [
    "Begun",
    "Method",
    "Session",
    "Stage",
    "act_for",
    "advance",
    "begin",
    "end",
    "end_acting_for",
    "end_of",
    "end_others",
    "find_session",
    "forget",
    "remember",
    "session_by_id",
    "sessions_of",
    "sweep",
    "take_scratch",
    "touch",
]

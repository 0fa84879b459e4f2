"""Web servers that answer as a test has them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sekisho.ports.web import Answer, NoAnswer, Question


@dataclass
class FakeWeb:
    """Implements ports.web.Web: ``pages`` by address; all else is not there."""

    pages: dict[str, Answer | NoAnswer] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)

    async def ask(self, question: Question) -> Answer | NoAnswer:
        self.asked.append(question)
        return self.pages.get(question.url, Answer(404, b""))

"""Counts words: text in, a count for each word out."""

import json
import re
from collections import Counter

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import context, log
from wit_world.imports.types import Descriptor, Failure, Interruption_Reject, Payload

JSON = "application/json"

PAYLOAD = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "The text whose words are counted."}},
    "required": ["text"],
}
RESULT = {"type": "object", "additionalProperties": {"type": "integer"}}


class Handler(exports.Handler):
    def describe(self):
        return [
            Descriptor(
                name="word-count-python",
                description="Counts how often each word occurs; words are runs of letters and digits, in lower case.",
                payload_schema=json.dumps(PAYLOAD),
                result_schema=json.dumps(RESULT),
                defaults=[("max-attempts", "3"), ("hard-time-limit", "10s")],
            )
        ]

    def run(self, attempt, payload):
        text = json.loads(payload.body).get("text")
        if not isinstance(text, str):
            raise rejected("invalid-payload", "there is no `text` in the payload")
        counts = Counter(word.lower() for word in re.findall(r"[^\W_]+", text))
        log.emit(log.Level.INFO, "counted", [("words", str(len(counts))), ("attempt", str(attempt.number))])
        context.progress(1.0, f"{len(counts)} different words")
        return Payload(JSON, json.dumps(counts, ensure_ascii=False).encode())


def rejected(kind, message):
    """What is raised so is the task's own failure; any other exception is a trap."""
    return Err(Interruption_Reject(Failure(kind, message, [])))

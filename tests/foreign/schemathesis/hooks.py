"""What schemathesis finds that no schema can say, with the reason; and a count of all that was answered.

A finding is dropped only where every violation in the answer has such a reason.
"""

import atexit
import collections
import json
import os

import schemathesis

# Violations of requests that the schema allows, by what the service says of them.
BEYOND_SCHEMAS = {
    "not a token of this list": "only the server makes tokens, and each belongs to one query",
    "names no field to change": "an update without a mask changes what its body names, and may not name nothing",
    "ends before it begins": "a relation between two moments",
    "wants more than zero": "how long a duration is, is no matter of its spelling",
    "wants a code or a text": "one of several fields, of which any will do",
    "wants a family name": "one of several fields, of which any will do",
    "has a name, a category or a type": "one of several fields, of which any will do",
    "has a practitioner or an organization": "one of several fields, of which any will do",
    "is before 1850": "the earliest day",
    "names no record of the directory": "whether there is such a record",
}

answered = collections.Counter()
dropped = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    answered[response.status_code] += 1


def violations(response):
    try:
        details = response.json()["error"]["details"]
        return [it["description"] for detail in details for it in detail.get("fieldViolations", [])]
    except (ValueError, KeyError, TypeError):
        return []


def holds_null(value):
    if isinstance(value, dict):
        return any(holds_null(it) for it in value.values())
    if isinstance(value, list):
        return any(holds_null(it) for it in value)
    return value is None


def reason(failure, case, response):
    kind = type(failure).__name__
    if kind == "RejectedPositiveData":
        found = [next((why for said, why in BEYOND_SCHEMAS.items() if said in it), None) for it in violations(response)]
        return found[0] if found and all(found) else None
    if kind == "AcceptedNegativeData":
        if case.path.endswith(":ingest") and response.status_code == 200:
            return "a load judges each thing by itself, and says so of each"
        if holds_null(case.body):
            return "in ProtoJSON null is as good as absent"
    return None


@schemathesis.hook
def filter_failure(context, failure, case, response):
    why = reason(failure, case, response)
    if why:
        dropped[why] += 1
    return why is None


@atexit.register
def tell():
    if path := os.environ.get("ANSWERED"):
        with open(path, "w") as out:
            json.dump({"answered": dict(answered), "dropped": dict(dropped)}, out)

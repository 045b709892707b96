"""Where the document and the services differ on what may be sent, counted: by reason where no schema can say it.

Such a difference is no fault of an answer. One has a reason only where every violation in the answer has one. What stays a
fault: a server error, an answer that the document does not describe, a call that gets in without a token.
"""

import atexit
import collections
import json
import os
import re

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
    "was used for another request": "whether an id was used is not in its form",
    "names no record of the directory": "whether there is such a record",
}

answered = collections.Counter()
dropped = collections.Counter()
unsaid = collections.Counter()


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


def numbered(body, key):
    """Whether the field is given as a whole number somewhere in the body."""
    if isinstance(body, dict):
        return type(body.get(key)) is int or any(numbered(it, key) for it in body.values())
    return isinstance(body, list) and any(numbered(it, key) for it in body)


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
        # What is a string or a list and given as a number is refused; `services/gateway/tests/it/rest.rs` holds it to that.
        named = re.search(r"(\w+): Incorrect type$", failure.message, re.MULTILINE)
        if named and numbered(case.body, named[1]):
            return "in ProtoJSON an enum has a number as well as a name"
    return None


@schemathesis.hook
def filter_failure(context, failure, case, response):
    kind = type(failure).__name__
    if kind not in ("RejectedPositiveData", "AcceptedNegativeData"):
        return True
    why = reason(failure, case, response)
    if why:
        dropped[why] += 1
    else:
        said = "; ".join(sorted(set(violations(response)))) if kind == "RejectedPositiveData" else failure.message.splitlines()[0]
        unsaid[f"{case.method} {case.path}: {kind}: {said}"] += 1
    return False


@atexit.register
def tell():
    if path := os.environ.get("ANSWERED"):
        with open(path, "w") as out:
            json.dump({"answered": dict(answered), "dropped": dict(dropped), "unsaid": dict(unsaid)}, out)

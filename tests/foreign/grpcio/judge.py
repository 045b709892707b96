"""Calls the suite as a Python program would that has no file of ours: by reflection."""

import os
import threading

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

channel = grpc.insecure_channel(os.environ["DOOR"].removeprefix("http://"))
reflection = ProtoReflectionDescriptorDatabase(channel)
pool = descriptor_pool.DescriptorPool(reflection)
TOKEN = os.environ["TOKEN"]


def method(path):
    service, name = path.rsplit("/", 1)
    rpc = pool.FindServiceByName(service).methods_by_name[name]
    kind = channel.unary_stream if rpc.server_streaming else channel.unary_unary
    answer = message_factory.GetMessageClass(rpc.output_type)
    call = kind(f"/{path}", request_serializer=lambda it: it.SerializeToString(), response_deserializer=answer.FromString)
    request = message_factory.GetMessageClass(rpc.input_type)
    return lambda fields, **more: call(json_format.ParseDict(fields, request()), **more)


def call(path, fields, token=TOKEN, timeout=20):
    metadata = [("authorization", f"Bearer {token}")] if token else []
    return method(path)(fields, metadata=metadata, timeout=timeout)


def refused(path, fields, code, **more):
    try:
        call(path, fields, **more)
    except grpc.RpcError as error:
        assert error.code() == code, f"{path}: {error.code()}, not {code}"
        return error
    raise AssertionError(f"{path} was not refused")


def violations(error):
    for detail in rpc_status.from_call(error).details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            return {it.field: it.description for it in bad.field_violations}
    return {}


PATIENTS, CASES, INBOX = (
    "caseward.patient.v1.PatientService",
    "caseward.careplan.v1.CaseService",
    "caseward.notification.v1.InboxService",
)
services = [it for it in reflection.get_services() if it.startswith("caseward.")]
methods = sum(len(pool.FindServiceByName(service).methods) for service in services)
assert {PATIENTS, CASES, INBOX} <= set(services), services

patient = call(f"{PATIENTS}/CreatePatient", {"patient": {"names": [{"given": ["Ada"], "family": "Byron"}]}})
again = call(f"{PATIENTS}/GetPatient", {"name": patient.name})
assert again == patient and again.names[0].family == "Byron", again

case = call(f"{CASES}/CreateCase", {"case": {"patient": patient.name, "title": "Falls at home"}})
seen = []
# A stream tells of what happens once it has begun.
watch = call(f"{CASES}/WatchCase", {"name": case.name})
reader = threading.Thread(target=lambda: seen.append(next(iter(watch), None)), daemon=True)
reader.start()
watch.initial_metadata()
change = {"case": {"name": case.name, "etag": case.etag, "programme": "falls"}, "update_mask": "programme"}
changed = call(f"{CASES}/UpdateCase", change)
reader.join(20)
watch.cancel()
assert seen and seen[0] is not None and seen[0].resource == case.name, f"the stream told {seen}"

error = refused(f"{PATIENTS}/CreatePatient", {"patient": {"birth_date": {"year": -1}}}, grpc.StatusCode.INVALID_ARGUMENT)
wrong = violations(error)
assert {"patient.names", "patient.birth_date"} <= set(wrong), wrong
refused(f"{CASES}/UpdateCase", change, grpc.StatusCode.ABORTED)
refused(f"{PATIENTS}/GetPatient", {"name": patient.name}, grpc.StatusCode.UNAUTHENTICATED, token=None)
for _ in call(f"{INBOX}/ListInboxItems", {"parent": "inboxes/me"}).items:
    pass

# The control: what is well must not be taken for a refusal.
try:
    refused(f"{PATIENTS}/GetPatient", {"name": patient.name}, grpc.StatusCode.NOT_FOUND)
    raise SystemExit("the control was not caught")
except AssertionError:
    pass
print(
    f"{len(services)} services with {methods} methods by reflection; a patient made and read, a change seen by a stream, "
    f"{len(wrong)} violations named, no token no answer"
)

// A page that knows the contracts by their descriptors, and the door by its address, and calls it as a browser does.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const { door, token } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

async function calls() {
  const set = new Uint8Array(await (await fetch("descriptors.binpb")).arrayBuffer());
  const contracts = createFileRegistry(fromBinary(FileDescriptorSetSchema, set));
  const transport = createGrpcWebTransport({ baseUrl: door });
  const client = (name) => createClient(contracts.getService(name), transport);
  const patients = client("caseward.patient.v1.PatientService");
  const cases = client("caseward.careplan.v1.CaseService");
  const signed = { headers: { authorization: `Bearer ${token}` } };

  const made = await patients.createPatient({ patient: { names: [{ family: "Byron" }] } }, signed);
  const read = await patients.getPatient({ name: made.name }, signed);
  const kase = await cases.createCase({ case: { patient: made.name, title: "Falls at home" } }, signed);

  // A stream tells of what happens once it has begun.
  const ends = new AbortController();
  let begin;
  const begun = new Promise((resolve) => (begin = resolve));
  const watch = cases.watchCase({ name: kase.name }, { ...signed, signal: ends.signal, onHeader: begin });
  const first = watch[Symbol.asyncIterator]().next();
  await begun;
  const change = { case: { name: kase.name, etag: kase.etag, programme: "falls" }, updateMask: { paths: ["programme"] } };
  await cases.updateCase(change, signed);
  const { value: entry } = await first;
  ends.abort();

  const error = await patients.createPatient({ patient: {} }, signed).then(() => undefined, ConnectError.from);
  const bad = error.details.filter((it) => it.type === "google.rpc.BadRequest");
  const unsigned = await patients.getPatient({ name: made.name }).then(() => undefined, ConnectError.from);
  return {
    unary: read.names[0].family,
    stream: entry.resource === kase.name ? entry.event : `something else: ${entry.resource}`,
    error: `${Code[error.code]}: ${error.rawMessage}, ${bad.length} detail`,
    unsigned: Code[unsigned.code],
  };
}

const said = await calls().catch((error) => ({ failed: String(error) }));
document.getElementById("said").textContent = JSON.stringify(said, null, 1);
document.title = "done";

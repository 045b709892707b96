// Serves the page, opens it in Chromium at an origin that may call and at one that may not, and holds what it shows
// against what it should.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const { TOOLS, ROOT, WORK, DOOR, TOKEN, PAGE_PORT, CHROMIUM } = process.env;
const foreign = createRequire(join(TOOLS, "package.json"));
const puppeteer = foreign("puppeteer-core");
const esbuild = foreign("esbuild");

const here = join(ROOT, "tests/foreign/browser");
execFileSync(join(TOOLS, "node_modules/.bin/buf"), ["build", "-o", join(WORK, "descriptors.binpb")], { cwd: join(ROOT, "proto") });
await esbuild.build({
  entryPoints: [join(here, "page.js")],
  outfile: join(WORK, "page.js"),
  nodePaths: [join(TOOLS, "node_modules")],
  bundle: true,
  format: "esm",
  logLevel: "error",
});
const files = {
  "/": [join(here, "page.html"), "text/html"],
  "/page.js": [join(WORK, "page.js"), "text/javascript"],
  "/descriptors.binpb": [join(WORK, "descriptors.binpb"), "application/octet-stream"],
};
const server = createServer((req, reply) => {
  const [file, kind] = files[req.url] ?? [];
  reply.writeHead(file ? 200 : 404, { "content-type": kind ?? "text/plain" });
  reply.end(file ? readFileSync(file) : "");
}).listen(Number(PAGE_PORT), "127.0.0.1");

const chromium = CHROMIUM ?? "/usr/bin/chromium";
const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
async function shown(origin) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(String(error)));
  await page.goto(`${origin}/#${new URLSearchParams({ door: DOOR, token: TOKEN })}`);
  await page.waitForFunction(() => document.title === "done", { timeout: 60_000 });
  return JSON.parse(await page.$eval("#said", (said) => said.textContent));
}
try {
  const version = await browser.version();
  const said = await shown(`http://127.0.0.1:${PAGE_PORT}`);
  const expected = said.unary === "Byron" && said.stream && !said.stream.startsWith("something else")
    && /^InvalidArgument: .*names.*, 1 detail$/.test(said.error ?? "") && said.unsigned === "Unauthenticated";
  if (!expected) throw new Error(`the page shows ${JSON.stringify(said)}`);
  // The control: the same page from an origin that the settings do not list gets nothing.
  const stranger = await shown(`http://localhost:${PAGE_PORT}`);
  if (!stranger.failed) throw new Error(`a strange origin was answered: ${JSON.stringify(stranger)}`);
  console.log(`${version}: unary, a stream (${said.stream}), an error with its details, unsigned refused; another origin got nothing`);
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
} finally {
  await browser.close();
  server.close();
}

#[derive(Debug)]
pub struct Telemetry;
impl Telemetry {
    pub fn stop(self) {}
}
pub fn start(_: &crate::settings::Common, _: &str) -> anyhow::Result<Telemetry> {
    Ok(Telemetry)
}
pub fn call_span(_: &str, _: &str, _: &http::HeaderMap) -> Option<tracing::Span> {
    None
}
pub fn record_call(_: &str, _: &str, _: std::time::Duration) {}
pub fn traceparent(_: &http::HeaderMap) -> String {
    String::new()
}

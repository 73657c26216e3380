//! Sends finished statements to a collector, in batches; the only door to the crates of OpenTelemetry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;

use super::{Context, Finished, Value};

/// Statements of one batch, and how long the first of them waits for others.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_millis(500);
/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// That the collector does not take them is said at most so often.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Nothing is sent before there is something.
pub(super) fn connect(endpoint: &str) -> Result<SpanExporter, String> {
    let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE);
    if endpoint.starts_with("https://") {
        // By itself it would know no authority at all.
        builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    let mut exporter = builder.build().map_err(|error| format!("trace_endpoint: {error}"))?;
    // The name can be another one by OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES, as everywhere.
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("pgloom");
    }
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Until the queue is closed and empty.
pub(super) async fn run(exporter: SpanExporter, mut queue: mpsc::Receiver<Finished>, dropped: Arc<AtomicU64>) {
    let scope = InstrumentationScope::builder("pgloom").with_version(env!("CARGO_PKG_VERSION")).build();
    let mut complained: Option<Instant> = None;
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            tokio::time::sleep(PAUSE).await;
            while batch.len() < BATCH
                && let Ok(finished) = queue.try_recv()
            {
                batch.push(finished);
            }
        }
        let count = batch.len();
        let spans = batch.drain(..).flat_map(|finished| spans(finished, &scope)).collect();
        let failed = exporter.export(spans).await.err();
        let lost = dropped.swap(0, Ordering::Relaxed) + failed.as_ref().map_or(0, |_| count as u64);
        if lost > 0 && complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
            complained = Some(Instant::now());
            let error = failed.map_or_else(|| "it is too slow".to_owned(), |error| error.to_string());
            tracing::warn!(statements = lost, error, "the collector of traces has not taken them");
        }
    }
}

fn spans(finished: Finished, scope: &InstrumentationScope) -> Vec<SpanData> {
    let Finished { trace, to, attributes, error, now, ids } = finished;
    let at = |moment: Instant| -> SystemTime { now.1 - now.0.saturating_duration_since(moment) };
    let own = trace.context;
    let span = |id: [u8; 8], parent: Option<Context>, remote: bool| SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(own.trace),
            SpanId::from_bytes(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span)),
        parent_span_is_remote: remote,
        span_kind: SpanKind::Internal,
        name: "".into(),
        start_time: at(trace.began),
        end_time: at(to),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    };
    let mut all = Vec::with_capacity(1 + trace.spans.len());
    all.push(SpanData {
        span_kind: SpanKind::Server,
        name: "statement".into(),
        attributes: key_values(attributes),
        status: error.map_or(Status::Unset, Status::error),
        ..span(own.span, trace.parent, trace.parent.is_some())
    });
    for (part, id) in trace.spans.into_iter().zip(ids) {
        all.push(SpanData {
            span_kind: if part.is_request { SpanKind::Client } else { SpanKind::Internal },
            name: part.name.into(),
            start_time: at(part.from),
            end_time: at(part.to),
            attributes: key_values(part.attributes),
            ..span(id, Some(own), false)
        });
    }
    all
}

fn key_values(attributes: Vec<(&'static str, Value)>) -> Vec<KeyValue> {
    let key_value = |(key, value)| match value {
        Value::Text(text) => KeyValue::new(key, text),
        Value::Number(number) => KeyValue::new(key, number),
    };
    attributes.into_iter().map(key_value).collect()
}

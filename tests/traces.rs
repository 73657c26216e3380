//! Traces: a collector of the test's own takes what the router exports over OTLP, and every span is where it belongs.

#![allow(clippy::unwrap_used)]

mod support;
// Shared with the login tests, which use more of it.
#[allow(dead_code)]
#[path = "login/tls_files.rs"]
mod tls_files;

use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use support::raw::{Value, message as m};
use support::sharded::config;
use support::{Router, Sharded, eventually};
use tls_files::TlsFiles;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// What was taken: spans, and the names of the services that sent them.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
            let names =
                attributes.filter(|attribute| attribute.key == "service.name").map(|attribute| text(&attribute.value));
            self.services.lock().unwrap().extend(names);
            self.spans.lock().unwrap().extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens for the test's life; its endpoint.
    fn start(&self) -> String {
        self.start_as("http", Server::builder())
    }

    /// With TLS.
    fn start_tls(&self, files: &TlsFiles) -> String {
        let identity = Identity::from_pem(fs::read(files.certificate()).unwrap(), fs::read(files.key()).unwrap());
        self.start_as("https", Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap())
    }

    fn start_as(&self, scheme: &str, mut server: Server) -> String {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let service = TraceServiceServer::new(self.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(server.add_service(service).serve(([127, 0, 0, 1], port).into())).unwrap();
        });
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// The spans of this trace, once its statement has come; the statement first.
    #[track_caller]
    fn trace(&self, id: &str) -> Vec<Span> {
        let mut found = Vec::new();
        eventually(15, &format!("trace {id}"), || {
            let spans = self.spans.lock().unwrap();
            found = spans.iter().filter(|span| hex(&span.trace_id) == id).cloned().collect();
            found.iter().any(|span: &Span| span.name == "statement")
        });
        found.sort_by_key(|span| span.name != "statement");
        found
    }

    /// The only statement whose text this is, with its parts.
    #[track_caller]
    fn statement(&self, sql: &str) -> Vec<Span> {
        let mut id = String::new();
        eventually(15, sql, || {
            let spans = self.spans.lock().unwrap();
            let with: Vec<_> = spans.iter().filter(|span| attribute(span, "db.query.text") == sql).collect();
            assert!(with.len() < 2, "{sql}: {with:?}");
            id = with.first().map_or(String::new(), |span| hex(&span.trace_id));
            !id.is_empty()
        });
        self.trace(&id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> String {
    span.attributes.iter().find(|attribute| attribute.key == key).map_or(String::new(), |found| text(&found.value))
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// One statement and its parts: each within it, and a child of it.
#[track_caller]
fn check_tree(spans: &[Span]) {
    let root = &spans[0];
    assert_eq!((root.name.as_str(), root.kind()), ("statement", SpanKind::Server));
    for part in &spans[1..] {
        assert_eq!(part.parent_span_id, root.span_id, "{part:?}");
        assert_ne!(part.span_id, root.span_id);
        // Two clocks are read for each.
        let slack = 2_000_000;
        assert!(part.start_time_unix_nano + slack >= root.start_time_unix_nano, "{root:?} {part:?}");
        assert!(part.end_time_unix_nano <= root.end_time_unix_nano + slack, "{root:?} {part:?}");
        assert!(part.end_time_unix_nano >= part.start_time_unix_nano, "{part:?}");
        let kind = if part.name == "shard" { SpanKind::Client } else { SpanKind::Internal };
        assert_eq!(part.kind(), kind, "{part:?}");
    }
}

#[test]
fn a_statement_is_a_span_of_its_parent_with_a_span_for_each_part() {
    let collector = Collector::default();
    let general = format!("trace_endpoint = \"{}\"\ntrace_ratio = 1\ndefault_pool_size = 1\n", collector.start());
    let world = Sharded::create("traces", &general);
    let mut raw = world.connect();

    // One shard; the text has a context, which goes along.
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let id = world.id(2, 0);
    raw.must(&format!("SELECT n AS one FROM items WHERE id = {id} /*app='x',traceparent='00-{trace}-{parent}-01'*/"));
    let spans = collector.trace(trace);
    check_tree(&spans);
    assert_eq!(names(&spans), ["plan", "shard", "statement"]);
    assert_eq!(hex(&spans[0].parent_span_id), parent);
    for (key, value) in [
        ("db.query.text", "SELECT n AS one FROM items WHERE id = $1"),
        ("db.namespace", &*world.db.name),
        ("db.system.name", "postgresql"),
        ("db.response.returned_rows", "1"),
        ("pgloom.route", "single"),
        ("pgloom.shards", "1"),
    ] {
        assert_eq!(attribute(&spans[0], key), value, "{key}");
    }
    let shard = spans.iter().find(|span| span.name == "shard").unwrap();
    assert_eq!(attribute(shard, "pgloom.shard"), "s2");
    assert!(attribute(shard, "server.address").starts_with("127.0.0.1:"));

    // Several: the shards' texts are made by the router, and have its own span as their parent.
    let trace = "1af7651916cd43dd8448eb211c80319c";
    let locks = world.lock(&[3]);
    raw.send(&m::query(&format!("SELECT id FROM items ORDER BY n, id /*traceparent='00-{trace}-{parent}-01'*/")))
        .unwrap();
    let mut asked = String::new();
    eventually(10, "the text on the shard", || {
        let sql = format!(
            "SELECT query FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
            world.db.name
        );
        asked = world.db.shard(3).value(&sql);
        !asked.is_empty()
    });
    drop(locks);
    raw.read_to_ready().unwrap();
    let spans = collector.trace(trace);
    check_tree(&spans);
    assert_eq!(names(&spans), ["merge", "plan", "shard", "shard", "shard", "shard", "statement"]);
    let mut shards: Vec<String> =
        spans.iter().map(|span| attribute(span, "pgloom.shard")).filter(|name| !name.is_empty()).collect();
    shards.sort_unstable();
    assert_eq!(shards, ["s0", "s1", "s2", "s3"]);
    let context = format!("/*traceparent='00-{trace}-{}-01'*/", hex(&spans[0].span_id));
    assert!(asked.ends_with(&context), "{asked}\n{context}");

    // What is pulled for a Postgres that finishes the statement, too.
    let locks = world.lock(&[3]);
    let median = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM items";
    let trace = "2af7651916cd43dd8448eb211c80319c";
    raw.send(&m::query(&format!("{median} /*traceparent='00-{trace}-{parent}-01'*/"))).unwrap();
    eventually(10, "the pull on the shard", || {
        let sql = format!(
            "SELECT query FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
            world.db.name
        );
        asked = world.db.shard(3).value(&sql);
        !asked.is_empty()
    });
    drop(locks);
    raw.read_to_ready().unwrap();
    let spans = collector.trace(trace);
    let context = format!("/*traceparent='00-{trace}-{}-01'*/", hex(&spans[0].span_id));
    assert!(asked.ends_with(&context), "{asked}\n{context}");

    // Without a context a statement is the root of its own trace; the extended protocol; waiting.
    let mut holder = world.connect();
    holder.must(&format!("BEGIN; SELECT n AS held FROM items WHERE id = {id}"));
    let sql = "SELECT n AS bound FROM items WHERE id = $1";
    let mut bytes = [m::parse("", sql, &[23]), m::bind("", "", &[Value::text(&id.to_string())], &[])].concat();
    bytes.extend([m::execute("", 0), m::sync()].concat());
    raw.send(&bytes).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    holder.must("COMMIT");
    raw.read_to_ready().unwrap();
    let spans = collector.statement(sql);
    check_tree(&spans);
    assert_eq!(names(&spans), ["plan", "shard", "statement", "wait"]);
    assert!(spans[0].parent_span_id.is_empty() || spans[0].parent_span_id == [0; 8]);
    let wait = spans.iter().find(|span| span.name == "wait").unwrap();
    assert!(wait.end_time_unix_nano - wait.start_time_unix_nano > 200_000_000, "{wait:?}");

    // An error, and a commit in two phases.
    assert_eq!(raw.simple("SELECT nothing AS wrong FROM items WHERE id = 1").code(), "42703");
    let spans = collector.statement("SELECT nothing AS wrong FROM items WHERE id = $1");
    assert_eq!(attribute(&spans[0], "db.response.status_code"), "42703");
    assert_eq!(spans[0].status.as_ref().unwrap().message, "42703");
    raw.must("BEGIN");
    raw.must("UPDATE items SET n = 4 WHERE id > 0");
    raw.must("COMMIT /* here */");
    let mut spans = Vec::new();
    eventually(15, "the commit", || {
        let all = collector.spans.lock().unwrap();
        // Rows in several shards at once are committed so, too.
        let of_commit =
            |id: &Vec<u8>| all.iter().any(|span| span.trace_id == *id && attribute(span, "db.query.text") == "COMMIT");
        let mut in_two = all.iter().filter(|span| span.name == "two_phase").map(|span| span.trace_id.clone());
        let commit = in_two.rfind(of_commit);
        spans = all.iter().filter(|span| Some(&span.trace_id) == commit.as_ref()).cloned().collect();
        spans.iter().any(|span: &Span| span.name == "statement")
    });
    spans.sort_by_key(|span| span.name != "statement");
    check_tree(&spans);
    assert_eq!(attribute(&spans[0], "db.query.text"), "COMMIT");
    assert_eq!(names(&spans).iter().filter(|name| **name == "shard").count(), 4, "{:?}", names(&spans));
    assert!(collector.services.lock().unwrap().iter().all(|name| name == "pgloom"));
}

#[test]
fn what_is_sampled_is_what_the_application_says_else_a_part_and_a_reload_changes_it() {
    let collector = Collector::default();
    let endpoint = collector.start();
    let world = Sharded::create("tracesample", &format!("trace_endpoint = \"{endpoint}\"\ntrace_ratio = 0.2\n"));
    let mut raw = world.connect();
    let with = |id: &str, flags: &str| format!("/*traceparent='00-{id}-b7ad6b7169203331-{flags}'*/");
    let not = "2af7651916cd43dd8448eb211c80319c";
    for _ in 0..20 {
        raw.must(&format!("SELECT n AS unwanted FROM items WHERE id = 1 {}", with(not, "00")));
    }
    for _ in 0..400 {
        raw.must("SELECT n AS some FROM items WHERE id = 1");
    }
    let last = "3af7651916cd43dd8448eb211c80319c";
    raw.must(&format!("SELECT n AS last FROM items WHERE id = 1 {}", with(last, "01")));
    collector.trace(last);
    let count = |of: &str| {
        let spans = collector.spans.lock().unwrap();
        spans.iter().filter(|span| attribute(span, "db.query.text").contains(of)).count()
    };
    assert_eq!(count("unwanted"), 0);
    assert!((30..150).contains(&count("some")), "{}", count("some"));
    // Off; and on again. A collector that is not there holds nobody up.
    let text = world.router.config_text();
    assert_eq!(world.router.reload(&text.replace(&endpoint, "")), "applied");
    raw.must(&format!("SELECT n AS dark FROM items WHERE id = 1 {}", with(last, "01")));
    assert_eq!(world.router.reload(&text.replace(&endpoint, "http://127.0.0.1:1")), "applied");
    for _ in 0..50 {
        raw.must(&format!("SELECT n AS lost FROM items WHERE id = 1 {}", with(last, "01")));
    }
    assert_eq!(world.router.reload(&text.replace(&endpoint, "collector:4317")), "rejected");
    assert_eq!(world.router.reload(&text), "applied");
    let again = "4af7651916cd43dd8448eb211c80319c";
    raw.must(&format!("SELECT n AS again FROM items WHERE id = 1 {}", with(again, "01")));
    collector.trace(again);
    assert_eq!(count("dark") + count("lost"), 0);
}

/// The authorities are those of the system, or of `SSL_CERT_FILE`.
#[test]
fn a_collector_with_tls_shows_a_certificate_of_an_authority_that_is_known() {
    let (files, others) = (TlsFiles::make(), TlsFiles::make());
    let collector = Collector::default();
    let endpoint = collector.start_tls(&files);
    let world = Sharded::create("tracetls", "");
    let general = format!("trace_endpoint = \"{endpoint}\"\ntrace_ratio = 1\n");
    let text = config(&world.db.name, &world.db.ports(), &general, "");
    let router = |known: &TlsFiles| {
        let mut router = Router::start_with(&text, &[("SSL_CERT_FILE", known.ca().to_str().unwrap())]);
        router.wait_until_ready();
        router
    };
    let (knows, does_not) = (router(&files), router(&others));
    does_not.connect(&world.db.name).must("SELECT count(*) AS untold FROM items");
    eventually(20, "that it is not taken", || {
        does_not.log_text().contains("the collector of traces has not taken them")
    });
    knows.connect(&world.db.name).must("SELECT count(*) AS told FROM items");
    check_tree(&collector.statement("SELECT count(*) AS told FROM items"));
    let spans = collector.spans.lock().unwrap();
    assert!(!spans.iter().any(|span| attribute(span, "db.query.text").contains("untold")));
}

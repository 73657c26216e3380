//! The HTTP listener for machines that watch: `/metrics`, `/healthz`, `/readyz`. Answers GET and HEAD, reads no body.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::metrics::{self, Metrics};

/// Open at once; a scraper needs one. For one more the oldest is closed that has asked nothing yet, or the oldest of all: who asks whether the
/// router lives is answered, whoever else is there.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head to arrive, and for a connection to stay without a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For one connection in all, so that a reader that never reads does not hold its place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest head of a request.
const MAX_HEAD: usize = 16 * 1024;

/// Whether clients are to be sent to this router.
pub trait Readiness: Send + Sync {
    /// Must not block.
    fn report(&self) -> Report;
}

/// What there is to be said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub ready: bool,
    /// What is wrong, also where that keeps nobody away.
    pub wrong: Vec<Unready>,
}

/// A shard that has not answered lately, or something else that keeps the router from serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// Empty: it is no database that is wrong.
    pub database: String,
    /// `None`: it is not one shard that is wrong.
    pub shard: Option<String>,
    /// What the last try met, in words for an operator.
    pub why: String,
}

/// Serves until `shutdown` resolves; open connections are then dropped.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
    shutdown: impl Future<Output = ()>,
) {
    let mut open: VecDeque<Open> = VecDeque::new();
    let mut connections = tokio::task::JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the metrics listener could not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        open.retain(|known| !known.task.is_finished());
        if open.len() >= MAX_CONNECTIONS {
            let silent = open.iter().position(|known| !known.has_asked.load(Ordering::Relaxed));
            if let Some(leaving) = open.remove(silent.unwrap_or(0)) {
                leaving.task.abort();
            }
        }
        let (metrics, readiness) = (Arc::clone(&metrics), Arc::clone(&readiness));
        let has_asked = Arc::<AtomicBool>::default();
        let asks = Arc::clone(&has_asked);
        let task = connections.spawn(async move {
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, &asks, metrics, readiness)).await;
        });
        open.push_back(Open { task, has_asked });
    }
}

/// A connection that is there.
struct Open {
    task: AbortHandle,
    /// A whole request has come.
    has_asked: Arc<AtomicBool>,
}

async fn connection(stream: TcpStream, has_asked: &AtomicBool, metrics: Arc<Metrics>, readiness: Arc<dyn Readiness>) {
    let service = service_fn(|request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let response = answer(request.method(), request.uri().path(), &metrics, &*readiness);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the metrics listener failed");
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics, readiness: &dyn Readiness) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => {
            let mut response = plain(StatusCode::OK, metrics.render());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            response
        }
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let report = readiness.report();
            let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            plain(status, describe(&report))
        }
        _ => plain(StatusCode::NOT_FOUND, "not here; try /metrics, /healthz, /readyz\n"),
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn describe(report: &Report) -> String {
    let mut text = String::from(if report.ready { "ready\n" } else { "not ready\n" });
    for Unready { database, shard, why } in &report.wrong {
        // Writing to a String cannot fail.
        let _ = match shard {
            Some(shard) => writeln!(text, "database {database:?} shard {shard:?}: {why}"),
            None if database.is_empty() => writeln!(text, "{why}"),
            None => writeln!(text, "database {database:?}: {why}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Fixed(Report);

    impl Readiness for Fixed {
        fn report(&self) -> Report {
            self.0.clone()
        }
    }

    fn ready() -> Report {
        Report { ready: true, wrong: Vec::new() }
    }

    async fn start(report: Report) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Metrics::new(), Arc::new(Fixed(report)), std::future::pending()));
        address
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn metrics_health_and_readiness_answer() {
        let address = start(ready()).await;
        let metrics = ask(address, &get("/metrics")).await;
        assert!(
            metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.contains("text/plain; version=0.0.4"),
            "{metrics}"
        );
        assert!(metrics.contains("\npgloom_clients 0\n"), "{metrics}");
        assert!(ask(address, &get("/healthz")).await.ends_with("\r\n\r\nok\n"));
        assert!(ask(address, &get("/readyz?verbose")).await.ends_with("\r\n\r\nready\n"));
        assert!(ask(address, &get("/")).await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn readyz_names_the_shard_that_does_not_answer_and_why() {
        let why = "connection refused (127.0.0.1:5433)".to_owned();
        let shard = Unready { database: "shop".into(), shard: Some("s2".into()), why };
        let address = start(Report { ready: false, wrong: vec![shard] }).await;
        let answer = ask(address, &get("/readyz")).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with("not ready\ndatabase \"shop\" shard \"s2\": connection refused (127.0.0.1:5433)\n"),
            "{answer}"
        );
        // A router that lacks a shard is alive all the same: restarting it would mend nothing.
        assert!(ask(address, &get("/healthz")).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_router_that_lacks_a_shard_may_be_ready_and_says_which() {
        let lost = Unready { database: "shop".into(), shard: Some("s2".into()), why: "gone".into() };
        let address = start(Report { ready: true, wrong: vec![lost] }).await;
        let answer = ask(address, &get("/readyz")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("ready\ndatabase \"shop\" shard \"s2\": gone\n"), "{answer}");
    }

    #[tokio::test]
    async fn other_methods_and_garbage_are_turned_away() {
        let address = start(ready()).await;
        let post = "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        let answer = ask(address, post).await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
        assert!(ask(address, "\u{0}\u{3}garbage\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD + 1024));
        // It may be cut off before the whole head was sent.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    }

    #[tokio::test]
    async fn of_too_many_connections_the_oldest_is_closed_and_health_is_told() {
        let address = start(ready()).await;
        let mut open = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // An answer proves that the place is taken.
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut some = [0; 1024];
            assert!(stream.read(&mut some).await.unwrap() > 0);
            // It asks for what it does not read.
            stream.write_all(get("/metrics").as_bytes()).await.unwrap();
            open.push(stream);
        }
        for _ in 0..3 {
            assert!(ask(address, &get("/healthz")).await.ends_with("\r\n\r\nok\n"));
        }
        let mut left = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), open[0].read_to_end(&mut left)).await;
        assert!(ended.is_ok(), "the oldest is closed");
        let mut last = open.pop().unwrap();
        last.read_to_end(&mut left).await.unwrap();
        assert!(left.windows(14).any(|part| part == b"pgloom_clients"), "the newest is served");
    }

    #[tokio::test]
    async fn those_who_have_asked_nothing_go_first() {
        let address = start(ready()).await;
        let mut scraper = TcpStream::connect(address).await.unwrap();
        let keep = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut some = [0; 1024];
        scraper.write_all(keep).await.unwrap();
        assert!(scraper.read(&mut some).await.unwrap() > 0);
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 10 {
            silent.push(TcpStream::connect(address).await.unwrap());
            // Accepted in turn: an answer to who comes behind proves it.
            assert!(ask(address, &get("/healthz")).await.ends_with("\r\n\r\nok\n"));
        }
        let first = tokio::time::timeout(Duration::from_secs(5), silent[0].read(&mut some)).await;
        assert!(matches!(first, Ok(Ok(0) | Err(_))), "the oldest of the silent ones is closed: {first:?}");
        scraper.write_all(keep).await.unwrap();
        assert!(scraper.read(&mut some).await.unwrap() > 0, "who has asked is still served");
    }
}

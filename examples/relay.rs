//! A bare byte relay: what a proxy costs that does nothing. It decides on which runtime pgloom runs (`make bench-relay`).
//!
//! Usage: relay RUNTIME LISTEN TARGET, with RUNTIME one of `current` (one current-thread runtime), `multi:N` (one runtime
//! of N stealing workers), `cores:N` (N current-thread runtimes, each connection stays on its own).

use std::error::Error;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, listen, target] = args.as_slice() else { return Err("usage: relay RUNTIME LISTEN TARGET".into()) };
    let (listen, target): (SocketAddr, SocketAddr) = (listen.parse()?, target.parse()?);
    let (kind, threads) = runtime.split_once(':').unwrap_or((runtime, "1"));
    let threads: usize = threads.parse()?;
    match kind {
        "current" => current_thread()?.block_on(accept(listen, |stream| drop(tokio::spawn(relay(stream, target))))),
        "multi" => {
            let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
            // The accept loop runs on a worker, so that block_on's own thread only sleeps.
            runtime.block_on(runtime.spawn(accept(listen, move |stream| drop(tokio::spawn(relay(stream, target))))))?
        }
        "cores" => spread(threads, listen, target),
        other => Err(format!("unknown runtime {other}").into()),
    }
}

fn current_thread() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// One thread accepts and deals the connections out in turn.
fn spread(threads: usize, listen: SocketAddr, target: SocketAddr) -> Outcome {
    let mut lanes = Vec::new();
    for _ in 0..threads {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<std::net::TcpStream>();
        lanes.push(send);
        std::thread::spawn(move || -> Outcome {
            current_thread()?.block_on(async move {
                while let Some(stream) = receive.recv().await {
                    tokio::spawn(relay(TcpStream::from_std(stream)?, target));
                }
                Ok(())
            })
        });
    }
    let mut turn = 0;
    current_thread()?.block_on(accept(listen, move |stream| {
        turn = (turn + 1) % lanes.len();
        if let (Ok(stream), Some(lane)) = (stream.into_std(), lanes.get(turn)) {
            let _ = lane.send(stream);
        }
    }))
}

async fn accept(listen: SocketAddr, mut serve: impl FnMut(TcpStream) + Send) -> Outcome {
    let listener = TcpListener::bind(listen).await?;
    loop {
        serve(listener.accept().await?.0);
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr) -> Outcome {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

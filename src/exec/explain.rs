//! Several servers asked for their plans at once: what each answers as text, and how long it took.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::Backend;
use crate::exec::client::Client;
use crate::exec::forward::{Broken, without_position};
use crate::exec::replies::{ScatterError, poll_client, try_content};
use crate::wire::frame::Frame;
use crate::wire::row::RowView;

/// One answer: rows of one column, each a line.
#[derive(Debug, Default)]
pub struct Answered {
    /// The RowDescription, whole.
    pub head: Bytes,
    pub text: String,
    /// Since the servers were asked, or this one has answered the last question before.
    pub took: Duration,
}

/// Sends what is queued and reads all that the servers owe: of each server its answers in order. `as_written`: the servers have the client's
/// own text, so that their errors are where they say.
pub async fn read(
    servers: &mut [&mut Backend],
    client: &mut Client,
    as_written: bool,
) -> Result<Vec<Vec<Answered>>, ScatterError> {
    let began = Instant::now();
    let mut reading: Vec<Reading> = servers.iter().map(|_| Reading { as_written, ..Reading::default() }).collect();
    poll_fn(|cx| {
        if let Poll::Ready(error) = poll_client(client, cx) {
            return Poll::Ready(Err(error));
        }
        let mut pending = false;
        for (server, reading) in servers.iter_mut().zip(&mut reading) {
            match reading.poll(server, client, began, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(reading.into_iter().map(|reading| reading.done).collect())
}

#[derive(Default)]
struct Reading {
    open: Answered,
    done: Vec<Answered>,
    as_written: bool,
    /// When the last answer was at its end.
    answered: Option<Instant>,
}

impl Reading {
    /// Ready when the server owes nothing more.
    fn poll(
        &mut self,
        server: &mut Backend,
        client: &mut Client,
        began: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ScatterError>> {
        loop {
            while !server.inflight.is_empty() {
                match try_content(server) {
                    Ok(Some(frame)) => {
                        if let Err(error) = self.take(&frame, client, began) {
                            return Poll::Ready(Err(error));
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if server.inflight.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match server.poll_progress(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(&mut self, frame: &Frame, client: &mut Client, began: Instant) -> Result<(), ScatterError> {
        match frame.tag {
            b'T' => self.open.head = frame.bytes.clone(),
            b'D' => {
                for value in RowView::parse(&frame.bytes)?.columns() {
                    if let Some(value) = value? {
                        self.open.text.push_str(&String::from_utf8_lossy(value));
                        self.open.text.push('\n');
                    }
                }
            }
            b'C' => {
                let now = Instant::now();
                self.open.took = now.duration_since(self.answered.replace(now).unwrap_or(began));
                self.done.push(std::mem::take(&mut self.open));
            }
            b'E' if self.as_written => return Err(ScatterError::Shard(frame.clone())),
            b'E' => return Err(ScatterError::Shard(without_position(frame))),
            b'N' => client.out.extend_from_slice(&frame.bytes),
            _ => {}
        }
        Ok(())
    }
}

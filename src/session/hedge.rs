//! Reads that a replica does not answer in time, and that are sent to a second server too: the first answer is the client's, the other
//! server is told to stop, and its connection is used again when it is clean.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::cluster::ServerCheckout;
use crate::backend::connector::Aim;
use crate::backend::gate::Patience;
use crate::backend::inflight::{Audience, Inflight, Owed};
use crate::backend::pool::checkout;
use crate::backend::prepared::StatementDef;
use crate::backend::servers::ShardServers;
use crate::config::HedgeAfter;
use crate::fault::Fault;
use crate::session::Session;
use crate::session::held::put_settings;
use crate::session::placed::join_rules;
use crate::session::prepared::ClientStatement;
use crate::session::replica::Servers;
use crate::session::retry::{Heard, Word};
use crate::wire::reply::Status;
use crate::wire::request;

/// How long the server that was not the first may take to stop.
const STOPS: Duration = Duration::from_secs(5);

/// A read that may be sent to a second server.
pub(super) struct Hedge {
    of: Arc<ShardServers>,
    began: Instant,
    second: Second,
}

type Waits = Pin<Box<dyn Future<Output = Option<ServerCheckout>> + Send>>;

/// What has become of the second server.
enum Second {
    /// It is not time yet, or there is no connection yet.
    Waits(Waits),
    Asked(Box<ServerCheckout>, Word),
    /// It has broken, or said what counts for nothing; as long as the first one works, whoever cancels may still mean it.
    Over(Box<ServerCheckout>),
    /// There is none.
    Spared,
}

/// What a connection was asked for, to be asked of another one.
struct Asked {
    bytes: Bytes,
    owed: Inflight,
    /// A statement that both must know.
    statement: Option<(Arc<ClientStatement>, Arc<StatementDef>)>,
}

impl Asked {
    fn put(&self, server: &mut ServerCheckout) -> Result<(), Fault> {
        if let Some((statement, def)) = &self.statement
            && !server.prepared.touch(def.id)
        {
            server.make_known(def, &statement.text, &statement.types, Audience::Router)?;
        }
        server.out.extend_from_slice(&self.bytes);
        server.inflight.append(&self.owed);
        Ok(())
    }
}

impl Session {
    /// For what this connection was asked for, of which nothing has been written yet; `None`: no second server will be asked.
    pub(super) fn hedge(&mut self, at: usize) -> Option<Hedge> {
        if self.limits.hedge.after == HedgeAfter::Off || self.tx.is_open() {
            return None;
        }
        let Aim::Replica(of, _) = &self.held[at].server.connector().aim else { return None };
        let of = Arc::clone(of);
        let second = self.second(at, &of).map_or(Second::Spared, Second::Waits);
        Some(Hedge { of, began: Instant::now(), second })
    }

    /// The second server, when it is time: asked, or nobody.
    fn second(&self, at: usize, of: &Arc<ShardServers>) -> Option<Waits> {
        let after = of.hedges().begin(self.limits.hedge)?;
        let held = &self.held[at];
        let (bytes, owed) = held.server.requests()?;
        let statement = if self.batch.is_open() { Some(self.kept_statement()?) } else { None };
        let statement = statement.map(|statement| {
            let def = statement.definition(&self.shared.registry);
            (statement, def)
        });
        let asked = Asked { bytes, owed, statement };
        let place = self.able(held.shard, Servers::Replicas, &[held.server.place()])?;
        let (pools, of) = (Arc::clone(&self.pools), Arc::clone(of));
        let (database, epoch) = (Arc::clone(&self.database), self.view.topology.epoch);
        let (settings, defaults) = (Arc::clone(&self.settings), Arc::clone(&self.defaults));
        let numbers = self.numbers_for(held.shard);
        let metrics = Arc::clone(&self.shared.metrics);
        Some(Box::pin(async move {
            tokio::time::sleep(after).await;
            if !of.hedges().take() {
                metrics.hedged("denied");
                return None;
            }
            // Who waits for a connection of that server goes before.
            let mut server =
                checkout(&[pools.at(place)], &[], Some(settings.placeholders()), Patience::of(Duration::ZERO))
                    .await
                    .ok()?
                    .pop()?;
            let fits = Arc::ptr_eq(&server.defaults, &defaults)
                && server.doubtful.is_empty()
                && join_rules(&database, epoch, &mut server).await.is_ok()
                && put_settings(&mut server, &settings).await.is_ok();
            if !fits {
                return None;
            }
            server.numbers = numbers;
            server.origins = None;
            // What could not be queued whole is not sent.
            if asked.put(&mut server).is_err() {
                server.broken = true;
                return None;
            }
            Some(server)
        }))
    }

    /// The second server has answered first: it takes the place of the first.
    pub(super) fn prefer_second(&mut self, at: usize, hedge: Hedge) {
        hedge.of.hedges().observe(hedge.began.elapsed());
        let Second::Asked(second, _) = hedge.second else { return };
        hedge.of.hedges().note(true);
        self.shared.metrics.hedged("won");
        let first = std::mem::replace(&mut self.held[at].server, *second);
        self.note_running();
        stop(first);
    }

    /// The first server has answered, or is gone.
    pub(super) fn keep_first(&mut self, hedge: Hedge, answered: bool) {
        if answered {
            hedge.of.hedges().observe(hedge.began.elapsed());
        }
        match hedge.second {
            Second::Asked(second, _) => {
                hedge.of.hedges().note(false);
                self.shared.metrics.hedged("lost");
                self.note_running();
                stop(*second);
            }
            Second::Over(second) => {
                self.note_running();
                hear_out(*second);
            }
            Second::Waits(_) | Second::Spared => {}
        }
    }
}

impl Hedge {
    /// Ready when the second server has said its first word. `asked` hears of its connection once it works for the client.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, asked: impl FnOnce(&ServerCheckout)) -> Poll<()> {
        if let Second::Waits(waits) = &mut self.second {
            match waits.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.second = Second::Spared,
                Poll::Ready(Some(server)) => {
                    asked(&server);
                    let word = Word::of(&server, true);
                    self.second = Second::Asked(Box::new(server), word);
                }
            }
        }
        let Second::Asked(server, word) = &mut self.second else { return Poll::Pending };
        match word.poll(server, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Heard::Answer) => Poll::Ready(()),
            Poll::Ready(over @ (Heard::Break | Heard::Elsewhere)) => {
                server.broken |= over == Heard::Break;
                if let Second::Asked(server, _) = std::mem::replace(&mut self.second, Second::Spared) {
                    self.second = Second::Over(server);
                }
                Poll::Pending
            }
        }
    }

    /// Whether a second server works on it.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.second, Second::Asked(..))
    }
}

/// Has a server stop, and gives its connection back when it has.
fn stop(server: ServerCheckout) {
    if server.broken {
        return;
    }
    tokio::spawn(async move {
        server.cancel.send().await;
        hear_end(server).await;
    });
}

/// Takes what a server still says that another one is asked instead of, and gives its connection back.
pub(super) fn hear_out(server: ServerCheckout) {
    if !server.broken {
        tokio::spawn(hear_end(server));
    }
}

async fn hear_end(mut server: ServerCheckout) {
    if !server.inflight.awaits_ready() {
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
    }
    let before = server.applied_before.take();
    let ended = async {
        server.drain().await?;
        if server.status == Status::Idle {
            return Ok(());
        }
        // It was the first statement of a transaction, which begins anew elsewhere.
        server.applied = before.flatten();
        server.command("ROLLBACK").await.map(drop)
    };
    let ended = tokio::time::timeout(STOPS, ended).await;
    server.broken |= !matches!(ended, Ok(Ok(())));
    // Nobody knows what of it was parsed before its end.
    server.doubt();
}

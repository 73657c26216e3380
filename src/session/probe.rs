//! Asks a server whether it would understand a statement, without running it: it is only parsed.

use std::sync::Arc;

use bytes::BytesMut;

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed, Verdict};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::session::held::{Finishing, put_settings};
use crate::session::lend::Fit;
use crate::session::prepared::ClientStatement;
use crate::session::{Failure, Session};
use crate::sql::outcome::Outcome;
use crate::sql::utility::StatementKind;
use crate::wire::error_fields::{self, ErrorFields};
use crate::wire::frame::Frame;
use crate::wire::{reply, request};

impl Session {
    /// Postgres reads a query of several statements whole before it runs the first: so does a server for us. Asked to prepare it,
    /// it answers with its syntax error, or, when there is none, that it cannot prepare several at once. What it warns of in their strings
    /// is told before the first runs, too.
    pub(super) async fn check_syntax(&mut self, text: &str) -> Result<(), Failure> {
        match self.read_several(text).await? {
            Some(frame) => {
                self.client.out.extend_from_slice(&frame.bytes);
                Err(Failure::Reported)
            }
            None => Ok(()),
        }
    }

    /// The error that is in a text of several statements.
    pub(super) async fn read_several(&mut self, text: &str) -> Result<Option<Frame>, Failure> {
        self.park_runs().await?;
        // A connection that we hold already will do: to wait for another one could be to wait for ourselves.
        let at = self.held.iter().position(|held| held.finishing == Finishing::No);
        let runs_code = self.runs_code();
        let asked = match at {
            Some(at) => {
                let held = &mut self.held[at];
                if !held.joined {
                    put_settings(&mut held.server, &self.settings).await?;
                }
                parsed(&mut held.server, text, &[], runs_code).await.map_err(Failure::from)
            }
            None => self.parsed_on(self.view.topology.home, text, &[]).await,
        };
        self.drop_broken();
        let Parsed { error, warnings } = asked?;
        self.client.out.extend_from_slice(&warnings);
        // The routine tells the two apart whatever the language of the messages.
        let several =
            |frame: &Frame| error_fields::iter(frame.body()).any(|(f, v)| f == b'R' && v == b"exec_parse_message");
        Ok(error.filter(|frame| !several(frame)))
    }

    /// [`Self::check_not_failed`] for a text that has just come: Postgres reads it before it looks at the transaction, and tells what it
    /// cannot read.
    pub(super) async fn check_read_not_failed(&mut self, kind: &StatementKind, text: &str) -> Result<(), Failure> {
        let Err(aborted) = self.check_not_failed(kind) else { return Ok(()) };
        self.drain_open().await?;
        self.park_runs().await?;
        let working = self.held.iter().position(|held| held.finishing == Finishing::No);
        let runs_code = self.runs_code();
        let asked = match working {
            Some(at) => parse_error(&mut self.held[at].server, text, &[], runs_code).await.map_err(Failure::from),
            None => self.parse_error_on(self.view.topology.home, text, &[]).await,
        };
        self.drop_broken();
        let unread =
            |frame: &Frame| error_fields::iter(frame.body()).any(|(f, v)| f == b'R' && v == b"scanner_yyerror");
        Err(match asked?.filter(unread) {
            Some(frame) => Failure::Fault(ErrorFields::parse(frame.body()).into_fault()),
            None => aborted,
        })
    }

    /// What the client is told of a statement that cannot have its name: what is wrong with its text, which Postgres finds first, or that.
    pub(super) async fn read_before(&mut self, taken: Fault, statement: &Arc<ClientStatement>) -> Failure {
        let outcome = &statement.analysis.outcome;
        let shard = match self.view.topology.places_schemas() {
            false => self.view.topology.home,
            // No server has all that it names.
            true if matches!(outcome, Outcome::Refuse(_)) || self.foreign_plan(statement).is_some() => {
                return taken.into();
            }
            true => match self.shard_with_tables(outcome) {
                Ok(shard) => shard,
                Err(_) => return taken.into(),
            },
        };
        if let Err(failure) = self.drain_open().await {
            return failure;
        }
        let (text, types) = (&statement.text, &statement.types);
        let asked = match self.tx.is_open() {
            true => self.parse_error_in_transaction(shard, text, types).await,
            false => self.parse_error_on(shard, text, types).await,
        };
        match asked {
            Ok(Some(frame)) => Failure::Fault(ErrorFields::parse(frame.body()).into_fault()),
            Err(over @ (Failure::Stop(_) | Failure::Reported)) => over,
            Ok(None) | Err(Failure::Fault(_)) => taken.into(),
        }
    }

    /// What the client is told of a statement that the plan refuses: what Postgres says where that would refuse it too (a name
    /// that is spelled wrong is not a matter of shards), else our refusal.
    pub(super) async fn refusal(&mut self, fault: &Fault, text: &str, types: &[Oid]) -> Failure {
        let ours = || Failure::Fault(fault.clone());
        if !matches!(fault.code, SqlState::FEATURE_NOT_SUPPORTED | SqlState::SYNTAX_ERROR) {
            return ours();
        }
        let asked = match self.held.is_empty() {
            true => self.parse_error_on(self.view.topology.home, text, types).await,
            // Another connection would not see what the transaction has made.
            false => {
                // What the batch owes comes first: where that has failed, this is skipped.
                if let Err(failure) = self.leave_open().await {
                    return failure;
                }
                self.parse_error_in_transaction(self.view.topology.home, text, types).await
            }
        };
        match asked {
            // Of what is in placed schemas the home shard knows nothing.
            Ok(Some(frame))
                if self.view.topology.places_schemas()
                    && crate::backend::server_fault(frame.body()).code != SqlState::SYNTAX_ERROR =>
            {
                ours()
            }
            // Nor does code that runs there see the rows that it would see on one Postgres.
            Ok(Some(frame))
                if self.runs_code() && !crate::backend::server_fault(frame.body()).code.as_str().starts_with("42") =>
            {
                ours()
            }
            Ok(Some(frame)) => {
                let mut theirs = ErrorFields::parse(frame.body());
                theirs.position = theirs.position.and_then(|position| position.checked_add(self.offset));
                Failure::Fault(theirs.into_fault().blame(fault.blame))
            }
            // The client has been told, or is gone.
            Err(over @ (Failure::Stop(_) | Failure::Reported)) => over,
            Ok(None) | Err(Failure::Fault(_)) => ours(),
        }
    }

    /// On the connection to this shard that the client has, or gets for it: what becomes of its transaction there, the refusal does
    /// with all of it.
    async fn parse_error_in_transaction(
        &mut self,
        shard: ShardId,
        text: &str,
        types: &[Oid],
    ) -> Result<Option<Frame>, Failure> {
        let at = self.enlist(shard).await?;
        let runs_code = self.runs_code();
        let asked = parse_error(&mut self.held[at].server, text, types, runs_code).await;
        self.drop_broken();
        Ok(asked?)
    }

    pub(super) async fn parse_error_on(
        &mut self,
        shard: ShardId,
        text: &str,
        types: &[Oid],
    ) -> Result<Option<Frame>, Failure> {
        Ok(self.parsed_on(shard, text, types).await?.error)
    }

    async fn parsed_on(&mut self, shard: ShardId, text: &str, types: &[Oid]) -> Result<Parsed, Failure> {
        // What is only parsed reads no custom setting.
        let place = self.pools.pool(shard).place();
        let mut server = self.checkout_one(place, Fit::Any).await?;
        put_settings(&mut server, &self.settings).await?;
        Ok(parsed(&mut server, text, types, self.runs_code()).await?)
    }

    /// Whether code of users can run where a statement is only parsed: literals are read then, and checked by their domains.
    fn runs_code(&self) -> bool {
        self.view.catalog.casts.iter().any(|cast| cast.checks)
    }
}

/// The ErrorResponse with which the server answers a Parse of `text`. Its transaction goes on as it was.
///
/// `runs_code`: what code of users does meanwhile is undone.
async fn parse_error(server: &mut Backend, text: &str, types: &[Oid], runs_code: bool) -> Result<Option<Frame>, Fault> {
    Ok(parsed(server, text, types, runs_code).await?.error)
}

/// What the server says of a text that it is asked to parse.
struct Parsed {
    error: Option<Frame>,
    /// Notices of backslashes in plain strings, which it finds before anything else.
    warnings: BytesMut,
}

async fn parsed(server: &mut Backend, text: &str, types: &[Oid], runs_code: bool) -> Result<Parsed, Fault> {
    let shield = match server.status {
        reply::Status::InTransaction => {
            Some(("SAVEPOINT pgloom_syntax", "ROLLBACK TO SAVEPOINT pgloom_syntax; RELEASE SAVEPOINT pgloom_syntax"))
        }
        reply::Status::Idle if runs_code => Some(("BEGIN", "ROLLBACK")),
        _ => None,
    };
    if let Some((before, _)) = shield {
        server.ask(before);
    }
    server.parse(b"", text.as_bytes(), types)?;
    server.inflight.push(Owed::Parse(Audience::Router));
    server.out.extend_from_slice(request::SYNC);
    server.inflight.push(Owed::Sync(Audience::Router));
    if let Some((_, behind)) = shield {
        server.ask(behind);
    }
    let (mut error, mut warnings) = (None, BytesMut::new());
    while !server.inflight.is_empty() {
        let frame = server.next_frame().await?;
        if server.inflight.step(frame.tag) == Verdict::OutOfStep {
            return Err(server.out_of_step(frame.tag));
        }
        match frame.tag {
            b'E' => error = Some(frame),
            b'N' if error_fields::code(frame.body()) == SqlState::NONSTANDARD_ESCAPE => {
                warnings.extend_from_slice(&frame.bytes);
            }
            _ => {}
        }
    }
    Ok(Parsed { error, warnings })
}

//! The console in the extended protocol: commands without parameters, answers in text or binary, whole or in pieces.

use std::sync::Arc;

use super::{Console, End};
use crate::admin::command::Command;
use crate::admin::{Answer, LocalRows};
use crate::fault::{Fault, SqlState};
use crate::session::simple::utf8;
use crate::wire::frame::{BindView, Fields, Frame};
use crate::wire::reply;

/// Named statements, and portals, of one operator.
const MAX_NAMES: usize = 100;

/// One Bind.
pub struct Portal {
    text: Arc<str>,
    formats: Vec<i16>,
    state: State,
}

enum State {
    Bound,
    /// It has run, and these rows were not sent yet.
    Ran(Answer),
    Finished,
}

impl Console {
    /// Parse, Bind, Describe, Execute or Close.
    pub(super) async fn extended(&mut self, frame: &Frame) -> Result<Result<(), Fault>, End> {
        Ok(match frame.tag {
            b'P' => self.parse(frame),
            b'B' => self.bind(frame),
            b'D' => self.describe(frame),
            b'E' => return self.execute(frame).await,
            _ => self.close(frame),
        })
    }

    fn parse(&mut self, frame: &Frame) -> Result<(), Fault> {
        let mut fields = Fields::new(frame.body());
        let name = fields.cstr()?;
        let text = utf8(fields.cstr()?)?;
        for _ in 0..fields.count()? {
            fields.i32()?;
        }
        fields.end()?;
        Command::parse(text)?;
        if !name.is_empty() && self.statements.contains_key(name) {
            let message = format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(name));
            return Err(Fault::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message));
        }
        check_room(self.statements.len())?;
        self.statements.insert(name.into(), text.into());
        self.client.out.extend_from_slice(reply::PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, frame: &Frame) -> Result<(), Fault> {
        let view = BindView::read(frame.body())?;
        let text = Arc::clone(self.statement(view.statement)?);
        if !view.parameters.is_empty() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires 0",
                view.parameters.len(),
                String::from_utf8_lossy(view.statement)
            );
            return Err(Fault::new(SqlState::PROTOCOL_VIOLATION, message));
        }
        if !view.portal.is_empty() && self.portals.contains_key(view.portal) {
            let message = format!("cursor \"{}\" already exists", String::from_utf8_lossy(view.portal));
            return Err(Fault::new(SqlState::DUPLICATE_CURSOR, message));
        }
        check_room(self.portals.len())?;
        let formats = crate::session::result_formats(frame.body())?;
        if formats.iter().any(|format| !matches!(format, 0 | 1)) {
            return Err(Fault::new(SqlState::INVALID_PARAMETER_VALUE, "unsupported format code"));
        }
        self.portals.insert(view.portal.into(), Portal { text, formats, state: State::Bound });
        self.client.out.extend_from_slice(reply::BIND_COMPLETE);
        Ok(())
    }

    fn describe(&mut self, frame: &Frame) -> Result<(), Fault> {
        let (what, name) = crate::session::describe_target(frame)?;
        let (text, formats) = match what {
            b'S' => (Arc::clone(self.statement(name)?), Vec::new()),
            _ => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (Arc::clone(&portal.text), portal.formats.clone())
            }
        };
        let out = &mut self.client.out;
        if what == b'S' {
            reply::parameter_description(out, &[])?;
        }
        match Command::parse(&text)? {
            Command::Show(what) => out.extend_from_slice(&what.show().answer(Vec::new()).describe(&formats)?),
            Command::ShowSession(name, _) => {
                let shape = LocalRows { columns: vec![name.into()], ..LocalRows::default() };
                out.extend_from_slice(&shape.describe(&formats)?);
            }
            Command::Nothing
            | Command::SetSession(_)
            | Command::KillClient(_)
            | Command::Kill(_)
            | Command::Reconnect(_)
            | Command::WaitClose(_)
            | Command::Disable(_)
            | Command::Enable(_)
            | Command::Reload
            | Command::Pause(_)
            | Command::Suspend
            | Command::Resume(_)
            | Command::Set(..)
            | Command::Shutdown(_) => out.extend_from_slice(reply::NO_DATA),
        }
        Ok(())
    }

    async fn execute(&mut self, frame: &Frame) -> Result<Result<(), Fault>, End> {
        let (name, max) = match target_of_execute(frame) {
            Ok(target) => target,
            Err(fault) => return Ok(Err(fault)),
        };
        let Some(portal) = self.portals.get_mut(name) else { return Ok(Err(no_portal(name))) };
        let answer = match std::mem::replace(&mut portal.state, State::Finished) {
            State::Ran(answer) => answer,
            State::Bound => {
                let text = Arc::clone(&portal.text);
                match self.run_text(&text).await? {
                    Ok(Some(answer)) => answer,
                    Ok(None) => {
                        self.client.out.extend_from_slice(reply::EMPTY_QUERY);
                        return Ok(Ok(()));
                    }
                    Err(fault) => return Ok(Err(fault)),
                }
            }
            // A SHOW has no more rows; a command is not given twice.
            State::Finished => return Ok(self.finished(name)),
        };
        self.put_piece(name, answer, max).await
    }

    fn finished(&mut self, name: &[u8]) -> Result<(), Fault> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        match Command::parse(&portal.text)? {
            Command::Show(_) => reply::command_complete(&mut self.client.out, "SHOW"),
            _ => {
                let message = format!("portal \"{}\" cannot be run", String::from_utf8_lossy(name));
                Err(Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
            }
        }
    }

    /// Up to `max` of the rows that are left.
    async fn put_piece(
        &mut self,
        name: &[u8],
        mut answer: Answer,
        max: Option<usize>,
    ) -> Result<Result<(), Fault>, End> {
        let Some(portal) = self.portals.get(name) else { return Ok(Err(no_portal(name))) };
        let formats = portal.formats.clone();
        Ok(match self.put_rows(&mut answer, &formats, max).await? {
            // As in Postgres: whether there are more is not known before they are asked for.
            Ok(true) => {
                if let Some(portal) = self.portals.get_mut(name) {
                    portal.state = State::Ran(answer);
                }
                self.client.out.extend_from_slice(reply::PORTAL_SUSPENDED);
                Ok(())
            }
            Ok(false) => reply::command_complete(&mut self.client.out, &answer.tag),
            Err(fault) => Err(fault),
        })
    }

    fn close(&mut self, frame: &Frame) -> Result<(), Fault> {
        let (what, name) = crate::session::describe_target(frame)?;
        match what {
            b'S' => drop(self.statements.remove(name)),
            _ => drop(self.portals.remove(name)),
        }
        self.client.out.extend_from_slice(reply::CLOSE_COMPLETE);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<&Arc<str>, Fault> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                b"" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name)),
            };
            Fault::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }
}

fn target_of_execute(frame: &Frame) -> Result<(&[u8], Option<usize>), Fault> {
    let mut fields = Fields::new(frame.body());
    let name = fields.cstr()?;
    let max = fields.i32()?;
    fields.end()?;
    Ok((name, usize::try_from(max).ok().filter(|max| *max > 0)))
}

fn no_portal(name: &[u8]) -> Fault {
    let message = format!("portal \"{}\" does not exist", String::from_utf8_lossy(name));
    Fault::new(SqlState::INVALID_CURSOR_NAME, message)
}

fn check_room(used: usize) -> Result<(), Fault> {
    if used < MAX_NAMES {
        return Ok(());
    }
    Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, format!("the console keeps at most {MAX_NAMES} names"))
        .hint("Close statements and portals that are no longer needed."))
}

//! The parts of a statement that is traced: planning, waiting, the work of each server, the merge, the commit.

use std::time::Instant;

use crate::fault::SqlState;
use crate::session::held::Held;
use crate::session::logged::Over;
use crate::session::{Clock, Session};
use crate::sql::normal::{Values, shown};
use crate::topology::Topology;
use crate::traces::{Span, Trace, Value};

impl Clock {
    /// A part of the statement ends now. `from`: when it began; `None`: with the statement.
    pub(super) fn note_part(&mut self, name: &'static str, from: Option<Instant>, attributes: Attributes) {
        if let Some(trace) = &mut self.trace {
            let from = from.unwrap_or(trace.began());
            trace.push(Span { name, from, to: Instant::now(), is_request: false, attributes });
        }
    }

    /// What a server has done for the statement.
    pub(super) fn note_work(&mut self, held: &mut Held, topology: &Topology) {
        let (lasted, period) = held.server.work.take();
        self.served = self.served.max(lasted);
        let (Some(trace), Some((from, to))) = (&mut self.trace, period) else { return };
        let shard = topology.shards.get(held.shard.index()).filter(|_| !held.shard.is_combine());
        let attributes = vec![
            ("db.system.name", Value::Text("postgresql".to_owned())),
            ("pgloom.shard", Value::Text(shard.map_or("combine".to_owned(), |shard| shard.name.to_string()))),
            ("server.address", Value::Text(held.server.address.to_string())),
        ];
        trace.push(Span { name: "shard", from, to, is_request: true, attributes });
    }
}

type Attributes = Vec<(&'static str, Value)>;

impl Session {
    /// `None`: the statement is not traced.
    pub(super) fn begin_trace(&self, text: &str) -> Option<Box<Trace>> {
        let tracer = &self.shared.tracer;
        if !tracer.is_on() {
            return None;
        }
        // One that follows another in its message begins when that is over.
        let began = self.clock.started.filter(|_| !self.clock.is_later).unwrap_or_else(Instant::now);
        tracer.begin(text, began)
    }

    /// The statement is over.
    pub(super) fn end_trace(&self, trace: Trace, over: &Over, to: Instant) {
        let (route, shards) = over.route.map_or(("none", 0), |(route, shards)| (route.label(), shards));
        let values = if self.limits.log.literals { Values::Shown } else { Values::Hidden };
        let number = |number: u64| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let mut attributes = vec![
            ("db.system.name", Value::Text("postgresql".to_owned())),
            ("db.namespace", Value::Text(self.database.name.to_string())),
            ("db.query.text", Value::Text(shown(over.said.text(), self.scope.standard_strings(), values))),
            ("db.response.returned_rows", number(over.rows)),
            ("db.user", Value::Text(self.user.to_string())),
            ("pgloom.client", number(u64::from(self.pid))),
            ("pgloom.route", Value::Text(route.to_owned())),
            ("pgloom.shards", number(shards as u64)),
        ];
        let error = over.failed.as_ref().map(|code: &SqlState| code.as_str().to_owned());
        if let Some(code) = &error {
            attributes.push(("db.response.status_code", Value::Text(code.clone())));
        }
        self.shared.tracer.finish(trace, to, attributes, error);
    }
}

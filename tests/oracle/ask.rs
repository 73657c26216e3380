//! Sends one statement in each form and folds the reply, the same way to the oracle and to the router.

use crate::corpus::{Case, Form, Param};
use crate::support::raw::{Answer, Fold, Raw, Reply, Value, message};

/// Rows a portal hands out at a time: small, so that most answers are suspended at least once.
const PORTAL_ROWS: u32 = 3;
/// Pieces after which the rest is asked for at once.
const PORTAL_PIECES: usize = 4;

/// The reply of `raw` to step `index` of the case.
pub fn ask(raw: &mut Raw, case: &Case, index: usize, form: Form, values: &[Value]) -> Reply {
    let sql = &case.statements[index];
    let copy = case.stdin.as_deref();
    match form {
        Form::Simple => {
            let bytes = message::query(&written_out(sql, &case.params));
            fold(raw, &bytes, copy, false)
        }
        Form::Text | Form::Binary => {
            let format = i16::from(form == Form::Binary);
            let batch = [
                message::parse("", sql, &case.types),
                message::bind("", "", values, &[format]),
                message::describe(b'P', ""),
                message::execute("", 0),
                message::sync(),
            ];
            fold(raw, &batch.concat(), copy, true)
        }
        Form::Portal => ask_portal(raw, case, values),
    }
}

fn fold(raw: &mut Raw, bytes: &[u8], copy: Option<&[u8]>, extended: bool) -> Reply {
    raw.exchange_with(bytes, copy, extended)
}

/// Named statement, Describe of the statement, then the portal in pieces, each with a Flush between.
fn ask_portal(raw: &mut Raw, case: &Case, values: &[Value]) -> Reply {
    let sql = &case.statements[0];
    let prepare = [message::parse("stmt", sql, &case.types), message::describe(b'S', "stmt"), message::sync()];
    let prepared = raw.exchange_with(&prepare.concat(), None, true);
    if prepared.error.is_some() {
        // Where Describe failed, there is a statement to close; where Parse did, it does no harm.
        raw.exchange_with(&[message::close(b'S', "stmt"), message::sync()].concat(), None, true);
        return prepared;
    }
    let mut reply = Reply::default();
    let first =
        [message::bind("c", "stmt", values, &[]), message::describe(b'P', "c"), message::execute("c", PORTAL_ROWS)];
    let mut batch = first.concat();
    let mut total = Answer::default();
    let mut pieces = 0;
    let outcome = (|| -> std::io::Result<()> {
        loop {
            raw.send(&[batch, message::flush()].concat())?;
            let mut piece = Fold::default();
            while piece.reply.answers.is_empty() && piece.reply.error.is_none() {
                piece.take(&raw.read()?);
            }
            reply.notices.append(&mut piece.reply.notices);
            reply.error = piece.reply.error;
            let Some(answer) = piece.reply.answers.into_iter().next() else { break };
            total.columns = total.columns.take().or(answer.columns);
            total.rows.extend(answer.rows);
            total.tag = answer.tag;
            if reply.error.is_some() || total.tag.as_deref() != Some("PortalSuspended") {
                break;
            }
            pieces += 1;
            batch = message::execute("c", if pieces < PORTAL_PIECES { PORTAL_ROWS } else { 0 });
        }
        Ok(())
    })();
    if let Err(e) = outcome {
        reply.error = Some(crate::support::raw::Report([('C', "08006".to_owned()), ('M', e.to_string())].into()));
        return reply;
    }
    // The last piece's tag counts its own rows only, which differs from a run in one piece but not between servers.
    reply.answers.push(total);
    let close = [message::close(b'P', "c"), message::close(b'S', "stmt"), message::sync()];
    let end = raw.exchange_with(&close.concat(), None, true);
    // After an error everything up to Sync is skipped, the Close too.
    if reply.error.is_some() {
        raw.exchange_with(&[message::close(b'S', "stmt"), message::sync()].concat(), None, true);
    }
    reply.status = end.status;
    reply.error = reply.error.or(end.error);
    reply
}

/// The text with its parameters as literals.
pub fn written_out(sql: &str, params: &[Param]) -> String {
    let mut text = sql.to_owned();
    for (index, value) in params.iter().enumerate().rev() {
        let literal = match value {
            None => "NULL".to_owned(),
            Some(v) if v.parse::<i64>().is_ok() => v.clone(),
            Some(v) => format!("'{}'", v.replace('\'', "''")),
        };
        text = text.replace(&format!("${}", index + 1), &literal);
    }
    text
}

/// The parameters of the case for this form; binary values are encoded by the oracle itself.
pub fn values(oracle: &mut Raw, case: &Case, form: Form) -> Vec<Value> {
    let text = |p: &Param| p.as_deref().map_or_else(Value::null, Value::text);
    if form != Form::Binary || case.params.is_empty() {
        return case.params.iter().map(text).collect();
    }
    let describe =
        [message::parse("", &case.statements[0], &case.types), message::describe(b'S', ""), message::sync()].concat();
    let Ok(messages) = oracle.send(&describe).and_then(|()| oracle.read_to_ready()) else { return Vec::new() };
    let Some(types) = messages.iter().find(|m| m.tag == b't') else {
        // The statement is wrong in itself; its values don't matter.
        return case.params.iter().map(text).collect();
    };
    let encode = |(index, param): (usize, &Param)| {
        let Some(value) = param else { return Value::null() };
        let reply = oracle.extended("SELECT $1", &[types.u32_at(2 + 4 * index)], &[Value::text(value)], 1);
        match reply.answers.first().and_then(|a| a.rows.first()).and_then(|r| r.first()) {
            Some(Some(bytes)) => Value::binary(bytes.clone()),
            // Not a value of the type: sent as text, so that both servers refuse it.
            _ => Value::text(value),
        }
    };
    case.params.iter().enumerate().map(encode).collect()
}

//! A client that asks one question several times and throws the rows away, which costs it little; or sends the data of a COPY. Measures
//! time, and the CPU time of the processes in between and of the servers behind (`make bench-scatter`, `make bench-copy`).
//!
//! Usage: drain [--data FILE] ADDRESS REPEAT MIDDLE [POSTMASTER...], the question on standard input. MIDDLE is the PID of a router, or `backend` for
//! the Postgres process that serves this connection; each POSTMASTER is the PID of one behind it, whose children are counted.
//! Prints for each repetition: milliseconds, rows, bytes of rows, CPU milliseconds in the middle, CPU milliseconds in the middle and
//! behind, and the sum of the rows' hashes. The first time is not measured: it fills caches, and its rows are hashed.
//! With `--data` the question is a COPY FROM STDIN of this file, which is measured each time: rows are those of the command tag.

use std::error::Error;
use std::fs;
use std::hash::BuildHasher;
use std::io::{Read, Write, stdin};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use pgloom::wire::frame::{Fields, HEADER, peek};
use pgloom::wire::{error_fields::ErrorFields, request};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut data = None;
    if args.first().is_some_and(|first| first == "--data") {
        args.remove(0);
        data = Some(copy_messages(&fs::read(args.remove(0))?));
    }
    let [address, repeat, middle, postmasters @ ..] = args.as_slice() else {
        return Err("usage: drain ADDRESS REPEAT MIDDLE [POSTMASTER...]".into());
    };
    let mut question = String::new();
    stdin().read_to_string(&mut question)?;
    let mut client = Client::connect(address)?;
    let middle = if middle == "backend" { client.backend.to_string() } else { middle.clone() };
    let warm = match data {
        Some(_) => None,
        None => Some(client.ask(&question, None, true)?),
    };
    for _ in 0..repeat.parse::<usize>()? {
        let before = (cpu(&middle)?, cpu_of_children(postmasters)?);
        let answer = client.ask(&question, data.as_deref(), false)?;
        if let Some(warm) = warm.as_ref().filter(|warm| (answer.rows, answer.bytes) != (warm.rows, warm.bytes)) {
            return Err(format!("{} rows at first, {} now", warm.rows, answer.rows).into());
        }
        let after = (cpu(&middle)?, cpu_of_children(postmasters)?);
        let middle_took = after.0.saturating_sub(before.0);
        println!(
            "{:.2} {} {} {:.2} {:.2} {:016x}",
            millis(answer.time),
            answer.rows,
            answer.bytes,
            millis(middle_took),
            millis(middle_took + after.1.saturating_sub(before.1)),
            warm.as_ref().map_or(0, |warm| warm.hash)
        );
    }
    Ok(())
}

/// What is sent for the data of a COPY: messages of 64 KiB, and CopyDone.
fn copy_messages(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 1024 + 16);
    for chunk in data.chunks(1 << 16) {
        out.push(b'd');
        out.extend((chunk.len() as u32 + 4).to_be_bytes());
        out.extend(chunk);
    }
    out.extend(b"c\0\0\0\x04");
    out
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// CPU time of a process so far, all its threads together, as the scheduler counts it.
fn cpu(pid: &str) -> Outcome<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(counts) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += counts.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn cpu_of_children(parents: &[String]) -> Outcome<Duration> {
    let mut sum = Duration::ZERO;
    if parents.is_empty() {
        return Ok(sum);
    }
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        // "PID (name) state parent ...", with any character in the name.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent.is_some_and(|parent| parents.iter().any(|one| one == parent)) {
            sum += cpu(pid).unwrap_or_default();
        }
    }
    Ok(sum)
}

struct Client {
    stream: TcpStream,
    /// What has been read and not been used is `buffer[used..filled]`.
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
    backend: u32,
}

struct Answer {
    rows: u64,
    bytes: u64,
    time: Duration,
    hash: u64,
}

impl Client {
    /// Logs in as postgres, who is trusted.
    fn connect(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, buffer: vec![0; 1 << 18], used: 0, filled: 0, backend: 0 };
        let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        client.stream.write_all(&(parameters.len() as u32 + 4).to_be_bytes())?;
        client.stream.write_all(parameters)?;
        let mut backend = None;
        client.replies(|tag, frame| {
            if tag == b'K' {
                backend = Fields::new(&frame[HEADER..]).u32().ok();
            }
        })?;
        client.backend = backend.ok_or("no BackendKeyData")?;
        Ok(client)
    }

    /// `data` goes right behind the question: a server that does not want it passes over it.
    fn ask(&mut self, question: &str, data: Option<&[u8]>, hashed: bool) -> Outcome<Answer> {
        let mut message = bytes::BytesMut::new();
        request::query(&mut message, question.trim().as_bytes()).map_err(|fault| fault.message.to_string())?;
        let start = Instant::now();
        self.stream.write_all(&message)?;
        self.stream.write_all(data.unwrap_or_default())?;
        let mut answer = Answer { rows: 0, bytes: 0, time: Duration::ZERO, hash: 0 };
        let hasher = FixedState::default();
        self.replies(|tag, frame| {
            if let (b'C', Some(data)) = (tag, data) {
                let count = frame.rsplit(|byte| *byte == b' ').next().and_then(|count| count.strip_suffix(b"\0"));
                answer.rows = count.and_then(|count| std::str::from_utf8(count).ok()?.parse().ok()).unwrap_or_default();
                answer.bytes = data.len() as u64;
            }
            if tag != b'D' && tag != b'd' {
                return;
            }
            answer.rows += 1;
            answer.bytes += frame.len() as u64;
            if hashed {
                answer.hash = answer.hash.wrapping_add(hasher.hash_one(frame));
            }
        })?;
        answer.time = start.elapsed();
        Ok(answer)
    }

    /// Gives each frame to `take`, up to ReadyForQuery.
    fn replies(&mut self, mut take: impl FnMut(u8, &[u8])) -> Outcome {
        loop {
            let ahead = &self.buffer[self.used..self.filled];
            let header = peek(ahead, 1 << 30).map_err(|fault| fault.message.to_string())?;
            if let Some(header) = header
                && let Some(frame) = ahead.get(..header.len)
            {
                match header.tag {
                    b'E' => return Err(ErrorFields::parse(&frame[HEADER..]).into_fault().message.to_string().into()),
                    b'R' if frame[HEADER..] != [0; 4] => return Err("the server asks for a password".into()),
                    tag => take(tag, frame),
                }
                self.used += header.len;
                if header.tag == b'Z' {
                    return Ok(());
                }
                continue;
            }
            self.buffer.copy_within(self.used..self.filled, 0);
            self.filled -= self.used;
            self.used = 0;
            if header.is_some_and(|header| header.len > self.buffer.len()) {
                return Err("a frame is longer than the buffer".into());
            }
            match self.stream.read(&mut self.buffer[self.filled..])? {
                0 => return Err("the server closed the connection".into()),
                n => self.filled += n,
            }
        }
    }
}

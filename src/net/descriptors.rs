//! The files that the process may open: each client is one, and so is each connection to a server. Clients do not take them all.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept for connections to servers, listeners and files: a quarter, within these bounds.
const LEAST_KEPT: u64 = 64;
const MOST_KEPT: u64 = 4096;

/// Lets the process open as many files as it may by its hard limit.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let mut raised = limit;
        raised.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}

/// How many files it may open; `None`: any number.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many clients that leaves room for.
pub fn room_for_clients() -> usize {
    limit().map_or(usize::MAX, |limit| {
        usize::try_from(limit.saturating_sub((limit / 4).clamp(LEAST_KEPT, MOST_KEPT))).unwrap_or(usize::MAX)
    })
}

/// Whether an error says that the process, or its machine, can open no more of them: no fault of the server's that was to be reached.
pub fn are_used_up(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error)
        .is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

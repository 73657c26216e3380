//! `pgloom serve`: runs the router until it is told to stop.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::app::live::Live;
use crate::app::map::{self, SharedMap};
use crate::app::reading::{Instead, Reading};
use crate::app::strangers::mock_key;
use crate::app::{Ending, Router};
use crate::cli::log::{self, Lines};
use crate::cli::out::complain;
use crate::cli::{ConfigArg, UNUSABLE, unusable};
use crate::config::{
    ConfigError, ConfigErrors, Draft, EtcdSettings, LogFormat, LogLevel, LogSettings, MapSettings, Origin, Settings,
};
use crate::control::live::Steering;
use crate::control::map::history::History;
use crate::fault::Fault;

/// What is still done on other threads when the router ends, as long as this.
const LAST_WORK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
}

/// What is known when the log begins.
enum Begin {
    Whole(Box<Draft>, Box<Settings>),
    /// The map in the file is wrong, and an earlier one is there.
    Instead(Box<Draft>, Box<Settings>, Box<Instead>),
    /// The map is in etcd, and the log tells how it is found.
    Elsewhere(Box<Draft>, Box<EtcdSettings>),
}

pub fn run(args: &ServeArgs) -> ExitCode {
    let path = &args.config.config;
    let read = Draft::load(path).and_then(|draft| {
        let early = draft.early()?;
        let begin = match &early.map {
            MapSettings::File { history, .. } => match draft.settings(None) {
                Ok(settings) => Begin::Whole(Box::new(draft), Box::new(settings)),
                Err(errors) => begin_instead(&draft, path, history.as_deref(), errors)?,
            },
            MapSettings::Etcd(etcd) => Begin::Elsewhere(Box::new(draft), etcd.clone()),
        };
        Ok((begin, early))
    });
    let (begin, early) = match read {
        Ok(read) => read,
        Err(errors) => return unusable(errors),
    };
    let (set_level, dropped) = match Lines::begin() {
        Ok(lines) => (start_log(&early.log, lines.clone()), lines.dropped()),
        Err(error) => {
            complain!("pgloom: there is no thread for the log: {error}");
            return ExitCode::from(UNUSABLE);
        }
    };
    raise_descriptor_limit();
    let runtime = match serving_runtime(early.workers) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            log::flush();
            return ExitCode::from(UNUSABLE);
        }
    };
    let logged = Logged { set_level, dropped };
    let served = runtime.block_on(async {
        match begin {
            Begin::Whole(draft, settings) => serve(&settings, Source::File(*draft, None), path, logged).await,
            Begin::Instead(draft, settings, instead) => {
                for error in instead.why.lines() {
                    tracing::error!("{error}");
                }
                let (epoch, changed_at) = (instead.kept.head.epoch, &*instead.kept.head.changed_at);
                tracing::warn!(config = %path.display(), epoch, changed_at, "the map in the file is wrong: serving the last one that was served");
                serve(&settings, Source::File(*draft, Some(*instead)), path, logged).await
            }
            Begin::Elsewhere(draft, etcd) => match with_map(*draft, &etcd, path).await? {
                Some((map, draft, settings)) => serve(&settings, Source::Map(map, draft), path, logged).await,
                None => Ok(()),
            },
        }
    });
    // What a disk does not finish now is given up.
    runtime.shutdown_timeout(LAST_WORK);
    let code = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(UNUSABLE)
        }
    };
    log::flush();
    code
}

/// The last map that was served in the place of that of the file. Users, addresses and limits are those of the file: who was taken out of it
/// does not come back.
///
/// # Errors
/// There is none, something else is wrong with the file, or it says that rows are moved: then they may be where the new map looks for them.
fn begin_instead(
    draft: &Draft,
    path: &Path,
    history: Option<&Path>,
    errors: ConfigErrors,
) -> Result<Begin, ConfigErrors> {
    let kept = history.and_then(|directory| History::new(directory, path).last().ok().flatten());
    let again = kept.and_then(|kept| draft.with_map(&kept.text).ok().map(|draft| (draft, kept)));
    let Some((draft, kept)) = again else { return Err(errors) };
    match draft.settings(None) {
        Ok(settings) if settings.allow_moves => {
            let message = "the last map that was served is not taken in its place: with allow_moves = true in [topology] rows may be where the new map \
                 looks for them; correct the map, or take allow_moves out if no row was moved";
            let file = path.display().to_string().into();
            let told = ConfigError { file, origin: Origin::Default, message: message.to_owned() };
            Err(ConfigErrors(errors.0.into_iter().chain([told]).collect()))
        }
        Ok(settings) => {
            let instead = Instead { kept, why: errors.to_string() };
            Ok(Begin::Instead(Box::new(draft), Box::new(settings), Box::new(instead)))
        }
        Err(_) => Err(errors),
    }
}

/// Where the map comes from, and the file as it was read.
enum Source {
    File(Draft, Option<Instead>),
    Map(SharedMap, Draft),
}

/// One worker runs everything on this thread: no wake-up ever crosses threads. docs/PERFORMANCE.md has the measurements.
fn serving_runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if workers <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(workers);
        builder
    };
    // As much as the first thread has: statements are read on others too.
    builder.thread_stack_size(8 << 20).enable_all().build()
}

async fn serve(settings: &Settings, from: Source, config: &Path, logged: Logged) -> Result<(), String> {
    for warning in &settings.warnings {
        tracing::warn!(config = %config.display(), "{warning}");
    }
    let mock = match &from {
        Source::File(..) => mock_key(settings, config, None).await?,
        Source::Map(map, _) => mock_key(settings, config, Some(map)).await?,
    };
    let router = Router::start(settings, &mock).await.map_err(|error| error.to_string())?;
    for address in router.addresses() {
        tracing::info!(%address, workers = settings.listen.workers, "accepting clients");
    }
    let live = router.live();
    let path = config.to_owned();
    let map = match from {
        Source::File(draft, instead) => {
            live.read_by(Reading::of_file(path, draft, instead));
            map::learn_of_others(&live);
            None
        }
        Source::Map(map, draft) => {
            map.steer(&live, path, draft);
            Some(map)
        }
    };
    live.log_by(logged.set_level, logged.dropped);
    tokio::spawn(reload_on_signal(Arc::clone(&live)));
    tokio::spawn(pause_on_signal(Arc::clone(&live)));
    let (stopping, stopped) = watch::channel(false);
    let following = match map {
        Some(map) => Some(map.follow(&router, stopped)),
        None => map::stay_listed(&router, stopped),
    };
    router
        .run(async {
            let ending = end_of(&live).await;
            let _ = stopping.send(true);
            ending
        })
        .await;
    if let Some(following) = following {
        following.end().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until there is a map. SIGHUP reads the file again meanwhile: it may be what keeps the router from its map. `None`: the router
/// is to end.
async fn with_map(
    mut draft: Draft,
    etcd: &EtcdSettings,
    path: &Path,
) -> Result<Option<(SharedMap, Draft, Settings)>, String> {
    let mut map = SharedMap::new(etcd);
    let mut stop = std::pin::pin!(stop_signal());
    let mut hangup = listen_for(SignalKind::hangup());
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = &mut stop => return Ok(None),
            _ = hung_up => {}
            settings = map.settings(&draft) => {
                let settings = settings.map_err(|errors| errors.to_string())?;
                return Ok(Some((map, draft, settings)));
            }
        }
        tracing::info!(signal = "HUP", "reading the configuration again, before there is a map");
        match Draft::load(path).and_then(|draft| draft.map_source().map(|source| (draft, source))) {
            Ok((read, MapSettings::Etcd(etcd))) => (map, draft) = (SharedMap::new(&etcd), read),
            Ok((_, MapSettings::File { .. })) => tracing::error!("source in [topology] takes effect at the next start"),
            Err(errors) => errors.0.iter().for_each(|error| tracing::error!("{error}")),
        }
    }
}

/// SIGHUP reads the configuration again, one after the other.
async fn reload_on_signal(live: Arc<Live>) {
    let Some(mut hangup) = listen_for(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        tracing::info!(signal = "HUP", "reading the configuration again");
        // What came of it is told there.
        let _ = live.reload_now().await;
    }
}

/// SIGUSR1 pauses every database, SIGUSR2 resumes them, as PgBouncer does.
async fn pause_on_signal(live: Arc<Live>) {
    let signals = (listen_for(SignalKind::user_defined1()), listen_for(SignalKind::user_defined2()));
    let (Some(mut pause), Some(mut resume)) = signals else { return };
    loop {
        tokio::select! {
            Some(()) = pause.recv() => {
                let live = Arc::clone(&live);
                // It ends when nothing runs any more; before that it can be taken back.
                tokio::spawn(async move { tell(live.pause(None, None).await) });
            }
            Some(()) = resume.recv() => tell(live.resume(None, None)),
            else => return,
        }
    }
}

fn tell(done: Result<(), Fault>) {
    if let Err(fault) = done {
        tracing::warn!("{fault}");
    }
}

fn listen_for(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!(?kind, %error, "a signal cannot be received")).ok()
}

/// Resolves when the router is to end: by a signal, or by the console. Signals go on being heard then.
async fn end_of(live: &Live) -> Ending {
    let mut signal = Box::pin(stop_signal());
    tokio::select! {
        biased;
        ending = &mut signal => ending,
        ending = live.asked_to_end() => {
            tokio::spawn(async {
                signal.await;
                log::exit();
            });
            ending
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT. A second one, or SIGQUIT at any time, ends the process at once.
async fn stop_signal() -> Ending {
    let signals =
        (listen_for(SignalKind::terminate()), listen_for(SignalKind::interrupt()), listen_for(SignalKind::quit()));
    let (Some(mut terminate), Some(mut interrupt), Some(mut quit)) = signals else {
        tracing::error!("stop the process with SIGKILL");
        return std::future::pending().await;
    };
    let ending = tokio::select! {
        _ = terminate.recv() => {
            tracing::info!(signal = "TERM", "draining: clients may stay for a time");
            Ending::OfClients
        }
        _ = interrupt.recv() => {
            tracing::info!(signal = "INT", "draining: transactions may finish");
            Ending::OfTransactions
        }
        _ = quit.recv() => log::exit(),
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
        log::exit();
    });
    ending
}

/// Makes the log that of another level.
type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

/// The log that has begun.
struct Logged {
    set_level: SetLevel,
    /// Lines that nobody has taken.
    dropped: Arc<AtomicU64>,
}

fn start_log(settings: &LogSettings, lines: Lines) -> SetLevel {
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_writer(lines).with_ansi(colours);
    let filter = filter(settings.level);
    match settings.format {
        LogFormat::Text => {
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |level| follow(handle.reload(self::filter(level))))
        }
        LogFormat::Json => {
            let log = log.json().with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |level| follow(handle.reload(self::filter(level))))
        }
    }
}

fn follow(reloaded: Result<(), tracing_subscriber::reload::Error>) {
    if let Err(error) = reloaded {
        tracing::warn!(%error, "the log's level stays as it is");
    }
}

/// PGLOOM_LOG takes the filters of tracing (`pgloom::session=debug`), for hunting, and goes before the level of the configuration.
fn filter(level: LogLevel) -> EnvFilter {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    EnvFilter::try_from_env("PGLOOM_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{level},sqlparser=warn")))
}

/// Each client and each server connection is a descriptor: the soft limit is raised to the hard one, and what there is is told.
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
}
